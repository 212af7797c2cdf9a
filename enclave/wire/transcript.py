"""What a session's keys are bound to.

HPKE's `info` is a digest of the client's hello and of the *payload* of the evidence: the document's
ECDSA signature can be changed into another valid one, its payload cannot.
"""

from __future__ import annotations

from hashlib import sha256

from enclave.wire import cose
from enclave.wire.hpke import SUITE_ID
from enclave.wire.messages import PROTOCOL


def binding(client_hello: bytes, evidence: bytes) -> bytes:
    """The 32 bytes of HPKE `info`; `evidence` is a COSE_Sign1 attestation document."""
    payload = cose.parse(evidence, tagged=None).payload
    parts = (PROTOCOL.encode(), SUITE_ID, client_hello, payload)
    return sha256(b"".join(sha256(part).digest() for part in parts)).digest()
