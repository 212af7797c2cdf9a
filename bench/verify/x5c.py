"""The certificates in a Confidential Space token's header, from its signer up to the pinned root.

As with Nitro's (`chain`), no path is built: there are three, and each is issued by the next. Google
leaves key usage out of the signer's certificate, and path lengths out of all. Revocation is not
looked at: it would need the network.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.x509.oid import SignatureAlgorithmOID

from bench.verify import certificates, jwt
from bench.verify.certificates import check_authority, check_issued, check_validity, refusal
from enclave.wire.errors import VerificationError

NAMES = ("the signer's certificate", "the intermediate", "the root")  # in the order of the header
MAX_CERTIFICATE_BYTES = 4096


def read(value: object) -> list[bytes]:
    """The DER certificates of an x5c member (RFC 7515 4.1.6: base64 *with* padding)."""
    if type(value) is not list or len(value) != len(NAMES):
        raise refusal("x5c", "header", "another number", f"a list of {len(NAMES)} certificates")
    found = []
    for text, name in zip(value, NAMES, strict=True):
        if type(text) is not str or len(text) > 2 * MAX_CERTIFICATE_BYTES:
            raise refusal("x5c", name, "another type or a long text", "base64")
        try:
            der = b64decode(text)
        except ValueError:
            der = b""
        if not der or b64encode(der).decode() != text:
            raise refusal("x5c", name, "another encoding", "canonical base64")
        found.append(der)
    return found


def verify(chain: Sequence[bytes], *, root: bytes, now: datetime) -> RSAPublicKey:
    """The signer's key that `chain` (DER, signer first) vouches for; VerificationError otherwise.

    1. the last is the pinned root, byte for byte
    2. each, from there down, is canonical DER of a version 3 certificate, RSA with SHA-256
    3. it is issued by the one before, and by no other
    4. it is valid at `now`
    5. the root and the intermediate may sign certificates, and have at most their path length below
    6. the signer is no authority, and may sign where its certificate speaks of usage
    """
    if chain[-1] != root:  # 1
        raise VerificationError(
            "root",
            found=sha256(chain[-1]).hexdigest(),
            expected=sha256(root).hexdigest(),
            hint="this token is of another root: an emulator, or a forgery",
        )
    issuer: x509.Certificate | None = None
    for below, der in reversed(list(enumerate(chain))):
        name = NAMES[below]
        certificate = _parse(der, name)  # 2
        if issuer is not None:
            check_issued(certificate, issuer, name, step="issuer certificate")  # 3
        check_validity(certificate, now, name)  # 4
        if below:
            check_authority(certificate, below - 1, name)  # 5
        issuer = certificate
    _check_signer(certificate, NAMES[0])  # 6
    return jwt.check_key(certificate.public_key(), "certificate")


def _parse(der: bytes, name: str) -> x509.Certificate:
    algorithm = SignatureAlgorithmOID.RSA_WITH_SHA256
    certificate = certificates.parse(der, name, algorithm=algorithm, called="RSA with SHA-256")
    jwt.check_key(certificate.public_key(), "certificate")
    return certificate


def _check_signer(certificate: x509.Certificate, name: str) -> None:
    constraints, usage = (
        certificates.constraints(certificate, name),
        certificates.usage(certificate),
    )
    if constraints.ca or (usage is not None and usage.key_cert_sign):
        raise refusal("leaf", name, "an authority", "CA:FALSE, no keyCertSign")
    if usage is not None and not usage.digital_signature:
        raise refusal("leaf", name, "may not sign", "digitalSignature, or no key usage at all")
