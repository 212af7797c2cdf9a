"""What an enclave says about one session: a receipt for every answer, statements over all of them.

Receipts are AIR v1, whose claim set is closed; what chains them stands in our own statements.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Generator, Iterator, Mapping
from dataclasses import dataclass
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave import memory
from enclave.boot import Booted
from enclave.stages import Marks, Stages
from enclave.tee import isolation
from enclave.wire import batch, cbor, receipt
from enclave.wire.errors import LocalProtocolError
from enclave.wire.frames import Type
from enclave.wire.messages import Collect, Completion, Generate, Part, Request, Response

ISSUER = "confbench enclave"
MAX_TIMED = 10_000  # requests whose times are kept until a report asks for them
SECURITY_MODES = {"local": "evaluation", "aws-nitro": "production"}  # of every platform


@dataclass(frozen=True, slots=True)
class Identity:
    """What is the same in every receipt of one boot."""

    platform: str
    booted: Booted
    receipt_key: Ed25519PrivateKey
    measurements: receipt.Measurements

    def __post_init__(self) -> None:
        """LocalProtocolError for a platform of which receipts could not say what it is worth."""
        if self.platform not in SECURITY_MODES:
            raise LocalProtocolError(f"no security mode is known of platform {self.platform!r}")


class Conversation:
    """One open session, as far as answers and what is signed about them go."""

    def __init__(
        self,
        identity: Identity,
        session_id: bytes,
        challenge: bytes,
        evidence: bytes,
        handshake: Stages,
        marks: Marks,
    ) -> None:
        self._identity = identity
        self._handshake = handshake
        self._session_id = session_id
        self._challenge = challenge
        self._evidence_digest = sha256(evidence).digest()
        self._policy = identity.booted.settings.digest().hex()
        self._marks = marks
        self._peak_rss_mb = memory.peak_rss_bytes() // 1_000_000
        self._sequence = 0
        self._timed = 0
        self._head = bytes(32)
        self._statements = 0
        self._previous = bytes(32)

    def replies(self, kind: Type, body: bytes) -> Generator[tuple[Type, bytes], None, None]:
        """What has to be sent for a message, in order and as it is made."""
        if kind is Type.REQUEST:
            yield Type.RESPONSE, self._embed(body)
        elif kind is Type.GENERATE:
            yield from self._generate(body)
        elif kind is Type.COLLECT:
            yield Type.REPORT, self._report(Collect.decode(body).records)
        else:
            raise LocalProtocolError(f"nobody answers {kind.name}")

    def _embed(self, body: bytes) -> bytes:
        request = Request.decode(body)
        began = time.monotonic_ns()
        output = self._identity.booted.engine.run(request.texts, self._marks)
        return self._sign(body, output.encode(), began)

    def _generate(self, body: bytes) -> Iterator[tuple[Type, bytes]]:
        request = Generate.decode(body)
        began = time.monotonic_ns()
        parts: list[Part] = []
        for part in self._identity.booted.engine.generate(request, self._marks):
            parts.append(part)
            yield Type.PART, part.encode()
        output = Completion.of(parts, request.max_new_tokens)
        yield Type.RESPONSE, self._sign(body, output.encode(), began)

    def _sign(self, body: bytes, output: bytes, began: int) -> bytes:
        """The encoded Response, with a receipt for what was asked and answered."""
        elapsed_ms = (time.monotonic_ns() - began) // 1_000_000
        signed = receipt.issue(
            self._receipt(sha256(body).digest(), sha256(output).digest(), elapsed_ms),
            self._identity.receipt_key,
        )
        self._head = batch.chain(self._head, signed)
        self._sequence += 1
        self._forget_times()
        self._marks("signed")
        return Response(output, signed).encode()

    def _forget_times(self) -> None:
        """A session that never asks for a report may not grow for ever."""
        self._timed += 1
        if self._timed > MAX_TIMED:
            self._marks.take()
            self._timed = 1

    def _receipt(self, request: bytes, response: bytes, elapsed_ms: int) -> receipt.Receipt:
        manifest = self._identity.booted.manifest
        return receipt.Receipt(
            issuer=ISSUER,
            issued_at=int(time.time()),  # the host can influence this clock
            receipt_id=secrets.token_bytes(16),
            nonce=self._challenge,
            model_id=manifest.model,
            model_version=manifest.version,
            model_hash=manifest.weights_sha256,
            request_hash=request,
            response_hash=response,
            attestation_hash=self._evidence_digest,
            measurements=self._identity.measurements,
            policy_version=self._policy,
            sequence=self._sequence,
            execution_time_ms=elapsed_ms,
            memory_peak_mb=self._peak_rss_mb,
            security_mode=SECURITY_MODES[self._identity.platform],
            model_hash_scheme="sha256-single",
        )

    def _report(self, records: bytes) -> bytes:
        """A signed statement: receipts so far, own observations since the last one, a digest."""
        self._timed = 0
        statement = batch.Statement(
            session=self._session_id,
            index=self._statements,
            previous=self._previous,
            receipts=self._sequence,
            receipts_head=self._head,
            body=cbor.encode(self._body(records)),
        )
        signed = batch.issue(statement, self._identity.receipt_key)
        self._statements += 1
        self._previous = sha256(signed).digest()
        return signed

    def _body(self, records: bytes) -> Mapping[str, object]:
        booted = self._identity.booted
        return {
            "boot_ns": booted.stages.rows(),
            "isolation": isolation.report(),
            "parity": booted.engine.parity(),
            "peak_rss_bytes": memory.peak_rss_bytes(),
            "records": records,
            "requests_ns": self._marks.take(),
            "rss_bytes": memory.rss_bytes(),
            "session_ns": {name: elapsed_ns for name, elapsed_ns, _ in self._handshake.rows()},
        }
