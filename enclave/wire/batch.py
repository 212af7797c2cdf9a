"""Statements: what an enclave signs over many receipts and its own observations.

Statements of a session form a chain (each names the digest of the one before), and so do receipts
(each statement names the head of all receipts so far): none can be left out, added or moved unseen.
"""

from __future__ import annotations

from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from enclave.wire import cbor, cose
from enclave.wire.bounds import COUNT, Bounds, exactly
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError, VerificationError
from enclave.wire.frames import LIMITS, Type

MAX_BYTES = LIMITS[Type.REPORT]
START = bytes(32)  # the head of no receipts, and what the first statement names as the one before

_LABEL = b"confbench/1 receipt chain"
_PROTECTED = cbor.encode(
    {cose.ALGORITHM: cose.EDDSA, cose.CONTENT_TYPE: "application/confbench-statement+cbor"}
)
_FIELDS = {  # in the order of the keys 1 to 6
    "session": Bounds(bytes, 1, 64),
    "index": COUNT,
    "previous": exactly(32),
    "receipts": COUNT,
    "receipts_head": exactly(32),
    "body": Bounds(bytes, 0, MAX_BYTES),
}


@dataclass(frozen=True, slots=True)
class Statement:
    """Statement number `index` of a session, after its first `receipts` receipts.

    `previous` is the SHA-256 of the signed statement before it, `body` CBOR that is not read here.
    """

    session: bytes
    index: int
    previous: bytes
    receipts: int
    receipts_head: bytes
    body: bytes


def chain(head: bytes, receipt: bytes) -> bytes:
    """The head after one more signed receipt: SHA-256(label, head, SHA-256(receipt)); 32 bytes."""
    if len(head) != 32:
        raise LocalProtocolError("a head has 32 bytes")
    return sha256(_LABEL + head + sha256(receipt).digest()).digest()


def issue(statement: Statement, key: Ed25519PrivateKey) -> bytes:
    """The signed statement, a COSE_Sign1 with tag 18; LocalProtocolError if out of bounds."""
    if fault := _fault(statement):
        raise LocalProtocolError(f"a statement that cannot be issued: {fault}")
    values = (getattr(statement, name) for name in _FIELDS)
    payload = cbor.encode(dict(enumerate(values, start=1)))
    return cose.sign_ed25519(payload, key, protected=_PROTECTED)


def verify(data: bytes, key: Ed25519PublicKey) -> Statement:
    """The statement that `key` signed; VerificationError names the step that failed.

    1. statement envelope: a COSE_Sign1 with tag 18.
    2. statement header: it says that this is a statement, not a receipt.
    3. statement signature: `key` made it.
    4. statement fields: exactly those of a statement, each within its bounds.
    """
    # 1.
    try:
        message = cose.parse(data, tagged=True, max_bytes=MAX_BYTES)
    except RemoteProtocolError as error:
        raise VerificationError(
            "statement envelope", found=error, expected="a COSE_Sign1 with tag 18"
        ) from error
    # 2.
    if message.protected != _PROTECTED:
        raise VerificationError(
            "statement header", found=message.protected.hex(), expected=_PROTECTED.hex()
        )
    # 3.
    payload = cose.verify_ed25519(message, key, step="statement signature")
    # 4.
    try:
        return _decode(payload)
    except RemoteProtocolError as error:
        raise VerificationError(
            "statement fields", found=error, expected="a map of keys 1 to 6"
        ) from error


def _decode(payload: bytes) -> Statement:
    fields = cbor.decode(payload, max_bytes=MAX_BYTES, max_depth=1)
    if type(fields) is not dict or set(fields) != set(range(1, len(_FIELDS) + 1)):
        raise RemoteProtocolError("not a map of keys 1 to 6")
    statement = Statement(*(fields[key] for key in sorted(fields)))
    if fault := _fault(statement):
        raise RemoteProtocolError(fault)
    return statement


def _fault(statement: Statement) -> str:
    """What is wrong with a statement; empty if nothing is."""
    for name, bounds in _FIELDS.items():
        if fault := bounds.fault(getattr(statement, name)):
            return f"{name}: {fault}"
    return ""
