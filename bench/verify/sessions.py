"""What a session leaves behind, and the chain that its signed statements make of it."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from enclave.wire import batch, cbor
from enclave.wire.errors import RemoteProtocolError, VerificationError


@dataclass(slots=True)
class Evidence:
    """All that an enclave signed in one session, and the challenge it answered to."""

    document: bytes
    challenge: bytes
    session_id: bytes
    receipts: list[bytes] = field(default_factory=list)
    statements: list[bytes] = field(default_factory=list)

    def encode(self) -> dict[str, object]:
        """For a CBOR file; `decode` is its inverse."""
        return {name: getattr(self, name) for name in self.__slots__}

    @classmethod
    def decode(cls, fields: object) -> Evidence:
        """RemoteProtocolError unless exactly these fields with these types stand there."""
        if type(fields) is not dict or set(fields) != set(cls.__slots__):
            raise RemoteProtocolError("evidence is not a map of the known fields")
        for name in ("document", "challenge", "session_id"):
            if type(fields[name]) is not bytes:
                raise RemoteProtocolError(f"evidence field {name} is not bytes")
        for name in ("receipts", "statements"):
            if type(fields[name]) is not list or any(type(v) is not bytes for v in fields[name]):
                raise RemoteProtocolError(f"evidence field {name} is not a list of bytes")
        return cls(**fields)


def statements(session: Evidence, key: Ed25519PublicKey) -> Iterator[Mapping[str, object]]:
    """The bodies of a session's statements by `key`, in order; VerificationError names the link.

    1. each is signed, and is the next one of this session
    2. each names the one before, and the head of the receipts so far
    3. the last one states as many receipts as were kept
    """
    heads = [batch.START]
    for signed in session.receipts:
        heads.append(batch.chain(heads[-1], signed))
    previous, stated = batch.START, -1
    for index, signed in enumerate(session.statements):
        statement = batch.verify(signed, key)  # 1
        _same("statement index", statement.index, index)
        _same("statement session", statement.session.hex(), session.session_id.hex())
        _same("previous statement", statement.previous.hex(), previous.hex())  # 2
        if statement.receipts >= len(heads):
            raise VerificationError(
                "receipts kept", found=len(heads) - 1, expected=statement.receipts
            )
        _same("receipts head", statement.receipts_head.hex(), heads[statement.receipts].hex())
        previous, stated = sha256(signed).digest(), statement.receipts
        yield _body(statement.body)
    _same("receipts stated", stated, len(session.receipts))  # 3


def _body(data: bytes) -> Mapping[str, object]:
    try:
        body = cbor.decode(data, max_bytes=batch.MAX_BYTES)
    except RemoteProtocolError as error:
        raise VerificationError("statement body", found=error, expected="a map") from None
    if type(body) is not dict:
        raise VerificationError("statement body", found=type(body).__name__, expected="a map")
    return body


def _same(step: str, found: object, expected: object) -> None:
    if found != expected:
        raise VerificationError(step, found=found, expected=expected)
