"""One attested session, from the client's side.

Nothing but a random challenge leaves the client before the evidence has passed all its steps
(bench.verify.evidence). Then keys are established with the attested key, bound to both hellos, and
the enclave has to answer under them before a first request is sent. Every exchange has a time limit
in total, after which it raises TimeoutError and the session is of no more use.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Generator, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256
from typing import Generic, TypeVar

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.client.channel import (
    ANSWER_SECONDS,
    GENERATION_SECONDS,
    OPENING_SECONDS,
    TimedChannel,
)
from bench.verify import Attested
from bench.verify.evidence import Expected, examine
from enclave.wire import batch, hpke, receipt, transcript
from enclave.wire.errors import RemoteProtocolError, VerificationError
from enclave.wire.frames import Frame, Type
from enclave.wire.messages import (
    Claims,
    ClientHello,
    Collect,
    Completion,
    Generate,
    Output,
    Part,
    Request,
    Response,
)
from enclave.wire.session import Mark, Role, Session

T = TypeVar("T", Output, Completion)


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """An output and the receipt over it, with what the receipt has to match."""

    output: T
    receipt: bytes
    request_sha256: bytes
    output_sha256: bytes
    sequence: int


class ClientSession:
    """An open session with an enclave that passed verification."""

    def __init__(
        self,
        channel: TimedChannel,
        session: Session,
        attested: Attested,
        claims: Claims,
        expected: Expected,
        challenge: bytes,
        evidence: bytes,
        session_id: bytes,
    ) -> None:
        self.attested = attested
        self.challenge = challenge
        self.evidence = evidence
        self.session_id = session_id
        self.receipts_head = bytes(32)
        self._channel = channel
        self._session = session
        self._receipts = expected.receipts(attested, evidence, challenge)
        self._receipt_key = Ed25519PublicKey.from_public_bytes(claims.receipt_key)
        self._sequence = 0
        self._statements = 0
        self._previous = bytes(32)

    def request(self, texts: Sequence[str], seconds: float = ANSWER_SECONDS) -> Answer[Output]:
        """Ask and wait for the authenticated answer; its receipt is checked by `check`."""
        body = Request(tuple(texts)).encode()
        self._channel.within(seconds)
        self._session.send(Type.REQUEST, body)
        response = Response.decode(self._session.receive().body)
        return self._answer(body, response, Output.decode(response.output))

    def generate(
        self,
        prompt: str,
        max_new_tokens: int,
        temperature: float = 0.0,
        seed: int = 0,
        seconds: float = GENERATION_SECONDS,
    ) -> Generator[Part, None, Answer[Completion]]:
        """Parts as they come, each authenticated, and at last the answer that they amount to.

        The session has to be closed where not all parts are taken. RemoteProtocolError where the
        enclave goes on after `max_new_tokens`, or answers with something else than its parts.
        """
        request = Generate(prompt, max_new_tokens, round(temperature * 1000), seed)
        body = request.encode()
        self._channel.within(seconds)
        self._session.send(Type.GENERATE, body)
        response = yield from parts_of(request, self._session.receive)
        return self._answer(body, *response)

    def _answer(self, body: bytes, response: Response, output: T) -> Answer[T]:
        """Take the receipt into the chain, unchecked."""
        sequence, self._sequence = self._sequence, self._sequence + 1
        self.receipts_head = batch.chain(self.receipts_head, response.receipt)
        digests = sha256(body).digest(), sha256(response.output).digest()
        return Answer(output, response.receipt, *digests, sequence)

    def check(self, answer: Answer[Output] | Answer[Completion]) -> receipt.Receipt:
        """Verify an answer's receipt against everything this session knows."""
        expected = replace(
            self._receipts,
            request_hash=answer.request_sha256,
            response_hash=answer.output_sha256,
            sequence=answer.sequence,
        )
        return receipt.verify(answer.receipt, self._receipt_key, expected=expected)

    def collect(
        self, records: bytes = b"", seconds: float = ANSWER_SECONDS
    ) -> tuple[bytes, batch.Statement]:
        """A signed statement over the session so far; `records` is a digest it shall commit to."""
        self._channel.within(seconds)
        self._session.send(Type.COLLECT, Collect(records).encode())
        signed = bytes(self._session.receive().body)
        statement = batch.verify(signed, self._receipt_key)
        found = statement.session, statement.index, statement.previous, statement.receipts
        expected = self.session_id, self._statements, self._previous, self._sequence
        if found != expected or statement.receipts_head != self.receipts_head:
            raise VerificationError(
                "statement chain", found="another history", expected="this session's receipts"
            )
        self._statements += 1
        self._previous = sha256(signed).digest()
        return signed, statement

    def close(self) -> None:
        """Say the authenticated end."""
        self._channel.within(OPENING_SECONDS)
        self._session.send(Type.END, b"")


def parts_of(
    request: Generate, receive: Callable[[], Frame]
) -> Generator[Part, None, tuple[Response, Completion]]:
    """The parts that `receive` brings, and the response after them, which has to repeat them."""
    parts: list[Part] = []
    while (frame := receive()).type is Type.PART:
        if len(parts) == request.max_new_tokens:
            raise RemoteProtocolError(f"more parts than the {len(parts)} tokens asked for")
        parts.append(Part.decode(frame.body))
        yield parts[-1]
    response = Response.decode(frame.body)
    completion = Completion.decode(response.output)
    if completion != Completion.of(parts, request.max_new_tokens):
        raise RemoteProtocolError("the response is not what its parts amount to")
    return response, completion


def open_session(
    channel: TimedChannel,
    expected: Expected,
    now: datetime,
    mark: Mark = lambda _: None,
    seconds: float = OPENING_SECONDS,
) -> ClientSession:
    """Verify the enclave behind a channel and establish keys with it.

    `mark` is told when evidence was `offered` and `examined`, and when keys were agreed (`keyed`).
    Raises VerificationError (evidence), RemoteProtocolError (conduct) or OSError (stream).
    """
    channel.within(seconds)
    session = Session(channel, Role.CLIENT)
    challenge = secrets.token_bytes(32)
    hello = ClientHello(challenge).encode()
    session.send(Type.CLIENT_HELLO, hello)
    evidence = bytes(session.receive().body)
    mark("offered")
    attested, claims, public_key = examine(evidence, expected, challenge, now)
    mark("examined")
    encapsulated, keys = hpke.establish(public_key, transcript.binding(hello, evidence))
    mark("keyed")
    session.send(Type.CLIENT_FINISH, encapsulated)
    session.key(keys)
    session.receive()
    return ClientSession(
        channel, session, attested, claims, expected, challenge, evidence, keys.session_id
    )
