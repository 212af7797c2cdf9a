"""Whether the evidence of one session is what a client insists on.

1. it is authentic: signature and certificate chain to the pinned root, at the given time
2. it is acceptable: measurements, freshness, the client's challenge as nonce, no debug mode
3. it binds a public key for this session
4. its claims name the protocol and a receipt key
5. the settings the host chose are the expected ones
6. the model's manifest is the one its owner signed
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256

from bench.verify import Attested, Policy, nitro
from enclave.wire import hpke, receipt
from enclave.wire.errors import RemoteProtocolError, VerificationError
from enclave.wire.messages import Claims


@dataclass(frozen=True, slots=True)
class Expected:
    """What this client will talk to: an image by policy, a host's settings, an owner's model."""

    policy: Policy
    settings_digest: bytes
    manifest_digest: bytes
    model: str
    weights_sha256: bytes
    security_mode: str

    def receipts(self, attested: Attested, evidence: bytes, challenge: bytes) -> receipt.Expected:
        """What every receipt of a session with this evidence has to say."""
        pcrs = attested.document.pcrs
        return receipt.Expected(
            model_id=self.model,
            model_hash=self.weights_sha256,
            attestation_hash=sha256(evidence).digest(),
            security_mode=self.security_mode,
            nonce=challenge,
            measurements=receipt.Measurements(pcrs[0], pcrs[1], pcrs[2]),
        )


def examine(
    evidence: bytes, expected: Expected, challenge: bytes, now: datetime
) -> tuple[Attested, Claims, bytes]:
    """Steps 1 to 6: (attested, its claims, the session's public key)."""
    document = nitro.authenticate(evidence, root=expected.policy.root_der, now=now)  # (1)
    attested = nitro.accept(document, expected.policy, nonce=challenge, now=now)  # (2)
    public_key = document.public_key  # (3)
    if public_key is None or len(public_key) != hpke.PUBLIC_KEY_BYTES:
        raise VerificationError("session key", found="none of 32 bytes", expected="an X25519 key")
    try:  # (4)
        claims = Claims.decode(document.user_data or b"")
    except RemoteProtocolError as error:
        raise VerificationError("claims", found=error, expected="attested claims") from error
    for step, found, wanted in (
        ("settings digest", claims.settings_digest, expected.settings_digest),  # (5)
        ("manifest digest", claims.manifest_digest, expected.manifest_digest),  # (6)
    ):
        if found != wanted:
            raise VerificationError(step, found=found.hex(), expected=wanted.hex())
    return attested, claims, public_key
