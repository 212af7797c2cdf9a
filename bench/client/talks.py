"""Open sessions behind one interface: with an enclave that was verified, or with the plain server.

What an attested session leaves behind is kept whole as its `Evidence`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime

from bench.client.session import Answer, open_session
from bench.verify.evidence import Expected
from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import LIMITS, Channel, Type
from enclave.wire.messages import Collect, Output, Request, Response


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


class AttestedTalk:
    """A verified session; every receipt is checked by `settle`, or the session is worth nothing."""

    def __init__(self, channel: Channel, expected: Expected, now: datetime) -> None:
        self._channel = channel
        try:
            self._session = open_session(channel, expected, now)
        except BaseException:
            channel.close()
            raise
        self._unchecked: list[Answer] = []
        self.evidence = Evidence(
            self._session.evidence, self._session.challenge, self._session.session_id
        )

    def request(self, text: str) -> None:
        """Ask for one embedding and wait for the authenticated answer."""
        self._unchecked.append(self._session.request((text,)))

    def settle(self) -> None:
        """Check the receipts of all answers since the last time."""
        for answer in self._unchecked:
            self._session.check(answer)
            self.evidence.receipts.append(answer.receipt)
        self._unchecked.clear()

    def report(self, records: bytes = b"") -> Mapping[str, object]:
        """What the enclave measured, out of a statement it signed."""
        self.settle()
        signed, statement = self._session.collect(records)
        self.evidence.statements.append(signed)
        return _body(statement.body)

    def close(self) -> None:
        """Have a statement over the whole session signed, then say the authenticated end."""
        self.report()
        self._session.close()
        self._channel.close()


class PlainTalk:
    """A session with the plain server: the same frames, nothing to verify."""

    def __init__(self, channel: Channel) -> None:
        self._channel = channel

    def request(self, text: str) -> None:
        """Ask for one embedding and wait for the answer."""
        self._channel.send(Type.REQUEST, Request((text,)).encode())
        response = Response.decode(self._channel.receive(Type.RESPONSE).body)
        Output.decode(response.output)

    def settle(self) -> None:
        """Nothing came with the answers."""

    def report(self, records: bytes = b"") -> Mapping[str, object]:
        """What the server measured; nobody signs it."""
        self._channel.send(Type.COLLECT, Collect(records).encode())
        return _body(bytes(self._channel.receive(Type.REPORT).body))

    def close(self) -> None:
        """End."""
        self._channel.send(Type.END, b"")
        self._channel.close()


def _body(data: bytes) -> Mapping[str, object]:
    body = cbor.decode(data, max_bytes=LIMITS[Type.REPORT])
    if type(body) is not dict:
        raise RemoteProtocolError("a report is not a map")
    return body
