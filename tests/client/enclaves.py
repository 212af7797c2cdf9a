"""An enclave in this process: the real service behind an emulated security module and no model."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import datetime
from queue import SimpleQueue
from typing import Any

from bench.client.channel import TimedChannel
from bench.client.session import ClientSession, open_session
from bench.verify.evidence import Expected
from enclave.boot import Booted
from enclave.serve import Service
from enclave.stages import Stages
from enclave.tee import SERVICE_PORT
from enclave.tee.nsm import Nsm
from enclave.wire.messages import Generate, Output, Part
from enclave.wire.settings import Settings
from tests.verify import forge
from tests.wire.sealing import DIGEST, MANIFEST

SETTINGS = Settings(
    kms_endpoint="http://kms",
    objects_endpoint="http://objects",
    region="local-1",
    bucket="bucket",
    prefix="",
    threads=1,
    sessions=2,
    echo=True,
    access_key_id="id",
    secret_access_key="secret",
    session_token="",
)
EXPECTED = Expected(
    policy=forge.policy(),
    settings_digest=SETTINGS.digest(),
    manifest_digest=DIGEST,
    model=MANIFEST.model,
    weights_sha256=MANIFEST.weights_sha256,
    security_mode="evaluation",
)
TIMEOUT_S = 20.0


class Engine:
    """Answers anything with one zero, goes on from anything by counting."""

    def run(self, texts: tuple[str, ...], mark: Any = lambda _: None) -> Output:
        for moment in ("tokenized", "waited", "inferred"):
            mark(moment)
        return Output((1, 1), bytes(4))

    def generate(self, request: Generate, mark: Any = lambda _: None) -> Iterator[Part]:
        for moment in ("tokenized", "waited"):
            mark(moment)
        for number in range(request.max_new_tokens):
            mark("inferred")
            yield Part(number, f" {number}")

    def parity(self) -> Mapping[str, str]:
        return {}


class Enclave:
    """A Tee whose parent is the test."""

    platform = "local"
    write_bytes = None

    def __init__(self) -> None:
        self.attest = Nsm(forge.emulator().transact).attest
        self._asked: SimpleQueue[tuple[int, socket.socket] | None] = SimpleQueue()

    def accept(self) -> Iterator[tuple[int, socket.socket]]:
        while (asked := self._asked.get()) is not None:
            yield asked

    def connect(self, port: int = SERVICE_PORT) -> socket.socket:
        near, far = socket.socketpair()
        near.settimeout(TIMEOUT_S)
        self._asked.put((port, far))
        return near

    def stop(self) -> None:
        self._asked.put(None)


@contextmanager
def running() -> Iterator[Enclave]:
    """A service that accepts until the block ends."""
    tee = Enclave()
    parent, other = socket.socketpair()
    with parent, other:
        engine: Any = Engine()
        booted = Booted(SETTINGS, MANIFEST, DIGEST, engine, dict(forge.PCRS), Stages(), parent)
        service: Any = Service
        thread = threading.Thread(target=service(tee, booted).run)
        thread.start()
        yield tee
        tee.stop()
        thread.join(TIMEOUT_S)


def open_one(
    stream: socket.socket, expected: Expected = EXPECTED, now: datetime = forge.NOW
) -> ClientSession:
    return open_session(TimedChannel(stream), expected, now)
