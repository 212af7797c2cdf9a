"""The Recipient of a KMS request: an attestation document, and the key it vouches for."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import load_der_public_key

from bench.emulators.aws_json import Members
from bench.emulators.members import invalid, read_blob
from bench.verify import Document, nitro
from enclave.wire.errors import RemoteProtocolError, VerificationError

ALGORITHM = "RSAES_OAEP_SHA_256"
KEY_BITS = 2048
MAX_DOCUMENT_BYTES = 262144
MEMBERS = {"KeyEncryptionAlgorithm", "AttestationDocument"}


@dataclass(frozen=True, slots=True)
class Recipient:
    """An authentic document; whether it is acceptable is for the key policy to say."""

    document: Document
    public_key: RSAPublicKey

    def facts(self) -> dict[str, str]:
        """What a key policy can ask about: kms:RecipientAttestation condition keys."""
        pcrs = {index: value.hex() for index, value in self.document.pcrs.items()}
        facts = {f"kms:RecipientAttestation:PCR{index}": value for index, value in pcrs.items()}
        return facts | ({"kms:RecipientAttestation:ImageSha384": pcrs[0]} if 0 in pcrs else {})

    def entry(self) -> Members:
        """What the decision log keeps."""
        pcr0 = self.document.pcrs.get(0, b"").hex()
        digest = self.document.payload_sha256.hex()
        return {"module": self.document.module_id, "document_sha256": digest, "pcr0": pcr0}


def read_recipient(members: Members, *, root: bytes, now: datetime) -> Recipient | None:
    """None where there is no Recipient; ServiceError for one that cannot be honoured.

    1. Both members, and the one algorithm there is.
    2. The document is authentic under `root` (DER) at `now`.
    3. It vouches for an RSA key of 2048 bits.
    """
    if "Recipient" not in members:
        return None
    recipient = members["Recipient"]
    if not isinstance(recipient, dict) or set(recipient) != MEMBERS:  # 1
        raise invalid(f"Recipient does not have exactly {sorted(MEMBERS)}")
    if recipient["KeyEncryptionAlgorithm"] != ALGORITHM:
        raise invalid(f"KeyEncryptionAlgorithm is not {ALGORITHM}")
    data = read_blob(recipient, "AttestationDocument", MAX_DOCUMENT_BYTES)
    try:
        document = nitro.authenticate(data, root=root, now=now)  # 2
    except (VerificationError, RemoteProtocolError) as error:
        raise invalid(f"attestation document: {error}") from None
    try:
        key = load_der_public_key(document.public_key or b"")  # 3
    except (ValueError, UnsupportedAlgorithm):
        raise invalid("attestation document: public_key is not a key") from None
    if not isinstance(key, RSAPublicKey) or key.key_size != KEY_BITS:
        raise invalid(f"attestation document: public_key is not RSA of {KEY_BITS} bits")
    return Recipient(document, key)
