"""One attested session, from the client's side.

Nothing but a random challenge leaves the client before the evidence has passed all its steps
(bench.verify.evidence). Then keys are established with the attested key, bound to both hellos, and
the enclave has to answer under them before a first request is sent.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.verify import Attested
from bench.verify.evidence import Expected, examine
from enclave.wire import batch, hpke, receipt, transcript
from enclave.wire.errors import VerificationError
from enclave.wire.frames import Channel, Type
from enclave.wire.messages import Claims, ClientHello, Collect, Output, Request, Response
from enclave.wire.session import Role, Session


@dataclass(frozen=True, slots=True)
class Answer:
    """An output and the receipt over it, with what the receipt has to match."""

    output: Output
    receipt: bytes
    request_sha256: bytes
    output_sha256: bytes
    sequence: int


class ClientSession:
    """An open session with an enclave that passed verification."""

    def __init__(
        self,
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
        self._session = session
        self._receipts = expected.receipts(attested, evidence, challenge)
        self._receipt_key = Ed25519PublicKey.from_public_bytes(claims.receipt_key)
        self._sequence = 0
        self._statements = 0
        self._previous = bytes(32)

    def request(self, texts: Sequence[str]) -> Answer:
        """Ask and wait for the authenticated answer; its receipt is checked by `check`."""
        body = Request(tuple(texts)).encode()
        self._session.send(Type.REQUEST, body)
        response = Response.decode(self._session.receive().body)
        output = Output.decode(response.output)
        sequence, self._sequence = self._sequence, self._sequence + 1
        self.receipts_head = batch.chain(self.receipts_head, response.receipt)
        digests = sha256(body).digest(), sha256(response.output).digest()
        return Answer(output, response.receipt, *digests, sequence)

    def check(self, answer: Answer) -> receipt.Receipt:
        """Verify an answer's receipt against everything this session knows."""
        expected = replace(
            self._receipts,
            request_hash=answer.request_sha256,
            response_hash=answer.output_sha256,
            sequence=answer.sequence,
        )
        return receipt.verify(answer.receipt, self._receipt_key, expected=expected)

    def collect(self, records: bytes = b"") -> tuple[bytes, batch.Statement]:
        """A signed statement over the session so far; `records` is a digest it shall commit to."""
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
        self._session.send(Type.END, b"")


def open_session(channel: Channel, expected: Expected, now: datetime) -> ClientSession:
    """Verify the enclave behind a channel and establish keys with it.

    Raises VerificationError (evidence), RemoteProtocolError (conduct) or OSError (stream).
    """
    session = Session(channel, Role.CLIENT)
    challenge = secrets.token_bytes(32)
    hello = ClientHello(challenge).encode()
    session.send(Type.CLIENT_HELLO, hello)
    evidence = bytes(session.receive().body)
    attested, claims, public_key = examine(evidence, expected, challenge, now)
    encapsulated, keys = hpke.establish(public_key, transcript.binding(hello, evidence))
    session.send(Type.CLIENT_FINISH, encapsulated)
    session.key(keys)
    session.receive()
    return ClientSession(session, attested, claims, expected, challenge, evidence, keys.session_id)
