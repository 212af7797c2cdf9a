"""A whole service in this process: the real protocol, a security module in software, no model."""

from __future__ import annotations

import socket
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from hashlib import sha256
from pathlib import Path
from typing import Any, cast

from bench.client.channel import TimedChannel
from bench.client.session import ClientSession, open_session
from bench.emulators import pki
from bench.emulators.nsm import NsmEmulator
from bench.verify import Policy
from bench.verify.evidence import Expected
from enclave.boot import Booted
from enclave.serve import Service
from enclave.stages import Stages
from enclave.tee import ECHO_PORT, SERVICE_PORT, Tee
from enclave.tee.channels import HybridVsock
from enclave.tee.nsm import Nsm
from enclave.wire.messages import Generate, Output, Part
from enclave.wire.settings import Settings
from tests.emulators.parties import MODULE, PCRS
from tests.wire.sealing import DIGEST, MANIFEST

SECONDS = 20.0  # after which a test gives up


def now() -> datetime:
    return datetime.now(UTC)


class Hand:
    """A clock that only a test moves."""

    def __init__(self) -> None:
        self.now = 0.0

    def __call__(self) -> float:
        return self.now


class Engine:
    """Answers with zeros, and goes on from a prompt by counting, `words` at the most.

    `fault` is raised instead, when set. Whoever is told to wait for `go` does so at each word.
    """

    fault: Exception | None = None
    words = 3
    go: threading.Semaphore | None = None
    left = 0

    def run(self, texts: tuple[str, ...], mark: Callable[[str], None]) -> Output:
        if self.fault is not None:
            raise self.fault
        mark("inferred")
        return Output((len(texts), 4), bytes(16 * len(texts)))

    def generate(self, request: Generate, mark: Callable[[str], None]) -> Iterator[Part]:
        try:
            for number in range(min(self.words, request.max_new_tokens)):
                if self.go is not None:
                    assert self.go.acquire(timeout=SECONDS)
                mark("inferred")
                yield Part(number, f" {number}")
            if self.fault is not None:
                raise self.fault
            mark("inferred")
        except GeneratorExit:
            self.left += 1
            raise

    def parity(self) -> dict[str, str]:
        return {}


class StubTee:
    """The emulator's module and real channels on a Unix socket."""

    platform = "local"
    write_bytes = None

    def __init__(self, folder: Path, root: pki.Authority) -> None:
        self.attested = 0
        self._nsm = Nsm(NsmEmulator(PCRS, root, now, MODULE).transact)
        self._lock = threading.Lock()
        self.path = folder / "v.sock"
        self._listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self._listener.bind(str(self.path))
        self._listener.listen(64)
        self._channels = HybridVsock(self._listener, folder, (SERVICE_PORT, ECHO_PORT))
        self.accept = self._channels.accept

    def attest(self, **bound: bytes) -> bytes:
        with self._lock:
            self.attested += 1
            return self._nsm.attest(**bound)

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)  # wakes who waits in accept
        self._listener.close()


class Running:
    """A service and its clients' way to it."""

    def __init__(self, tee: StubTee, service: Service, engine: Engine, expected: Expected) -> None:
        self.tee, self.service, self.engine, self.expected = tee, service, engine, expected

    def connect(self, port: int = SERVICE_PORT) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.settimeout(SECONDS)
        stream.connect(str(self.tee.path))
        stream.sendall(b"CONNECT %d\n" % port)
        answer = b""
        while not answer.endswith(b"\n"):
            answer += stream.recv(1) or b"\n"
        return stream

    @contextmanager
    def session(self) -> Iterator[ClientSession]:
        with self.connect() as stream:
            yield open_session(TimedChannel(stream), self.expected, now())

    def answers(self) -> bool:
        """Whether a newcomer is verified, answered and given a receipt that holds."""
        with self.session() as session:
            session.check(session.request(("still there?",)))
            session.close()
        return True

    def settle(self) -> None:
        """Wait until the service has noticed that everyone is gone."""
        until(lambda: self.service.sessions.taken == 0 and self.service.half_open.taken == 0)


class Counting:
    """A stream that notes how much came at a time."""

    def __init__(self, stream: socket.socket) -> None:
        self._stream = stream
        self.sizes: list[int] = []

    def recv_into(self, buffer: memoryview) -> int:
        count = self._stream.recv_into(buffer)
        self.sizes.append(count)
        return count

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


def until(holds: Callable[[], bool]) -> None:
    """Wait for what another thread is about to do."""
    last = time.monotonic() + SECONDS
    while not holds():
        assert time.monotonic() < last, "it did not come to that"
        threading.Event().wait(0.002)


def settings(**changed: Any) -> Settings:
    places = ("http://kms", "http://objects", "r", "b", "p")
    return Settings(*places, **{"threads": 1, "sessions": 4, "echo": True} | changed,
                    access_key_id="", secret_access_key="", session_token="")  # fmt: skip


@contextmanager
def serving(
    folder: Path, clock: Callable[[], float] = time.monotonic, **changed: Any
) -> Iterator[Running]:
    """A service with these settings, on a thread of its own."""
    root, chosen, engine = pki.create(now()), settings(**changed), Engine()
    tee = StubTee(folder, root)
    parent, theirs = socket.socketpair()
    booted = Booted(chosen, MANIFEST, DIGEST, cast(Any, engine), dict(PCRS), Stages(), parent)
    service = Service(cast(Tee, tee), booted, clock)
    thread = threading.Thread(target=service.run)
    thread.start()
    expected = Expected(
        policy=Policy(sha256(root.der).digest(), root.der, PCRS, emulated=True),
        settings_digest=chosen.digest(),
        manifest_digest=DIGEST,
        model=MANIFEST.model,
        weights_sha256=MANIFEST.weights_sha256,
        security_mode="evaluation",
    )
    with parent, theirs:
        try:
            yield Running(tee, service, engine, expected)
        finally:
            tee.close()
            thread.join(SECONDS)
    assert not thread.is_alive(), "the service did not end with its listener"
