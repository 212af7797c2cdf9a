"""Open sessions behind one interface: with an enclave that was verified, or with the plain server.

What an attested session leaves behind is kept whole as its `Evidence`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from datetime import datetime

from bench.client.channel import ANSWER_SECONDS, GENERATION_SECONDS, TimedChannel
from bench.client.session import Answer, open_session, parts_of
from bench.verify.evidence import Expected
from bench.verify.sessions import Evidence
from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import LIMITS, Type
from enclave.wire.messages import (
    Collect,
    Completion,
    Generate,
    Output,
    Part,
    Request,
    Response,
)
from enclave.wire.session import Mark


class AttestedTalk:
    """A verified session; every receipt is checked by `settle`, or the session is worth nothing."""

    def __init__(
        self, channel: TimedChannel, expected: Expected, now: datetime, mark: Mark = lambda _: None
    ) -> None:
        self._channel = channel
        try:
            self._session = open_session(channel, expected, now, mark)
        except BaseException:
            channel.close()
            raise
        self._unchecked: list[Answer[Output] | Answer[Completion]] = []
        self.stated = 0  # receipts that a statement covers
        self.evidence = Evidence(
            self._session.evidence, self._session.challenge, self._session.session_id
        )

    def request(self, text: str) -> None:
        """Ask for one embedding and wait for the authenticated answer."""
        self.ask((text,))

    def ask(self, texts: Sequence[str]) -> Output:
        """A row for each text, out of one authenticated answer."""
        answer = self._session.request(texts)
        self._unchecked.append(answer)
        return answer.output

    def generate(
        self, prompt: str, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[Part]:
        """Ask for a completion; its authenticated parts, as they come. All have to be taken."""
        answer = yield from self._session.generate(prompt, max_new_tokens, temperature, seed)
        self._unchecked.append(answer)

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
        self.stated = len(self.evidence.receipts)
        return _body(statement.body)

    def close(self) -> None:
        """Have a statement over the whole session signed, then say the authenticated end."""
        self.report()
        self._session.close()
        self._channel.close()


class PlainTalk:
    """A session with the plain server: the same frames, nothing to verify."""

    evidence: Evidence | None = None

    def __init__(self, channel: TimedChannel) -> None:
        self._channel = channel

    def request(self, text: str) -> None:
        """Ask for one embedding and wait for the answer."""
        self.ask((text,))

    def ask(self, texts: Sequence[str]) -> Output:
        """A row for each text."""
        self._channel.within(ANSWER_SECONDS)
        self._channel.send(Type.REQUEST, Request(tuple(texts)).encode())
        response = Response.decode(self._channel.receive(Type.RESPONSE).body)
        return Output.decode(response.output)

    def generate(
        self, prompt: str, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[Part]:
        """Ask for a completion; its parts, as they come. All have to be taken."""
        request = Generate(prompt, max_new_tokens, round(temperature * 1000), seed)
        self._channel.within(GENERATION_SECONDS)
        self._channel.send(Type.GENERATE, request.encode())
        yield from parts_of(request, lambda: self._channel.receive(Type.PART, Type.RESPONSE))

    def settle(self) -> None:
        """Nothing came with the answers."""

    def report(self, records: bytes = b"") -> Mapping[str, object]:
        """What the server measured; nobody signs it."""
        self._channel.within(ANSWER_SECONDS)
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
