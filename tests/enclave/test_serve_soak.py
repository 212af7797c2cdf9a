"""Handshake after handshake, a third of them hostile: memory stays flat and the server answers.

`SOAK=10000 python -m pytest -s tests/enclave/test_serve_soak.py` does as many as it says (10,000:
less than a minute) and prints what it found.
"""

from __future__ import annotations

import contextlib
import gc
import os
import secrets
import socket
import struct
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.client.session import ClientSession
from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import HEADER, VERSION, Channel, Type
from enclave.wire.messages import MAX_TEXT_BYTES, ClientHello, Generate, Part
from tests.enclave.service import Running, serving

COUNT = int(os.environ.get("SOAK", "300"))
WARM_UP = max(150, COUNT // 10)  # until the C library has an arena for every thread
GROWTH_MIB = 12
GROWTH_OBJECTS = 200  # what Python itself holds; no allocator blurs it
CLIENTS = 4
BATCH = 300


def hello(stream: socket.socket) -> Channel:
    channel = Channel(stream)
    channel.send(Type.CLIENT_HELLO, ClientHello(secrets.token_bytes(32)).encode())
    channel.receive(Type.SERVER_HELLO)
    return channel


def hang_up(running: Running) -> None:
    with running.connect():
        pass


def noise(running: Running) -> None:
    with running.connect() as stream:
        stream.sendall(secrets.token_bytes(100))
        stream.recv(100)


def a_length_of_2_gib(running: Running) -> None:
    with running.connect() as stream:
        stream.sendall(HEADER.pack(VERSION, Type.CLIENT_HELLO, 2**31))
        stream.recv(100)


def half_a_hello(running: Running) -> None:
    with running.connect() as stream:
        stream.sendall(HEADER.pack(VERSION, Type.CLIENT_HELLO, 1000) + b"\xa2")


def hello_and_no_more(running: Running) -> None:
    with running.connect() as stream:
        hello(stream)


def finish_with_zeros(running: Running) -> None:
    with running.connect() as stream:
        hello(stream).send(Type.CLIENT_FINISH, bytes(32))
        stream.recv(100)


def finish_for_other_keys(running: Running) -> None:
    with running.connect() as stream:
        channel = hello(stream)
        stranger = X25519PrivateKey.generate().public_key().public_bytes_raw()
        channel.send(Type.CLIENT_FINISH, stranger)
        channel.receive(Type.READY)
        channel.send(Type.REQUEST, secrets.token_bytes(200))
        stream.recv(100)


def open_and_hang_up(running: Running) -> None:
    with running.session():
        pass


def a_false_record(running: Running) -> None:
    with running.session() as session:
        session._session._channel.send(Type.REQUEST, secrets.token_bytes(200_000))
        session._session.receive()


def a_promise_of_a_body(running: Running) -> None:
    with running.session() as session:
        stream = session._session._channel._stream
        stream.sendall(HEADER.pack(VERSION, Type.REQUEST, 250_000) + bytes(70_000))


def sealed(session: ClientSession, kind: Type, body: bytes) -> None:
    session._session.send(kind, body)
    session._session.receive()


def no_cbor(running: Running) -> None:
    with running.session() as session:
        sealed(session, Type.REQUEST, secrets.token_bytes(50))


def a_million_of_everything(running: Running) -> None:
    with running.session() as session:
        sealed(session, Type.REQUEST, b"\xa1\x01\x9a\x00\x0f\x42\x40" + bytes(200_000))


def a_long_text(running: Running) -> None:
    with running.session() as session:
        sealed(session, Type.REQUEST, cbor.encode({1: ["x" * (MAX_TEXT_BYTES + 1)]}))


def a_prompt_and_hang_up(running: Running) -> None:
    with running.session() as session:
        next(session.generate("count", 4096))


def a_part_of_our_own(running: Running) -> None:
    with running.session() as session:
        channel, sealing = session._session._channel, session._session._sealing
        assert sealing is not None
        channel.send(Type.GENERATE, sealing.seal(Type.GENERATE, Generate("x", 9, 0, 0).encode()))
        channel.send(Type.PART, sealing.seal(Type.PART, Part(1, "x").encode()))


def reset(running: Running) -> None:
    with running.connect() as stream:
        hello(stream)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))


HOSTILE: list[Callable[[Running], None]] = [
    hang_up,
    noise,
    a_length_of_2_gib,
    half_a_hello,
    hello_and_no_more,
    finish_with_zeros,
    finish_for_other_keys,
    open_and_hang_up,
    a_false_record,
    a_promise_of_a_body,
    no_cbor,
    a_million_of_everything,
    a_long_text,
    a_prompt_and_hang_up,
    a_part_of_our_own,
    reset,
]


def one(running: Running, number: int) -> int:
    """1 where a verified answer came, 0 after an attack."""
    if number % 3 != 2:
        return int(running.answers())
    with contextlib.suppress(RemoteProtocolError, OSError):
        HOSTILE[number // 3 % len(HOSTILE)](running)
    return 0


def many(running: Running, count: int) -> int:
    """How many of so many handshakes got their answer; a few at a time, so that memory is flat."""
    good = 0
    with ThreadPoolExecutor(CLIENTS) as pool:
        for start in range(0, count, BATCH):
            numbers = range(start, min(start + BATCH, count))
            good += sum(pool.map(one, [running] * len(numbers), numbers))
    running.settle()
    return good


def rss_mib() -> float:
    gc.collect()
    pages = int(Path("/proc/self/statm").read_text().split()[1])
    return pages * os.sysconf("SC_PAGE_SIZE") / 2**20


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


@pytest.mark.attack(27, 28)
@pytest.mark.soak
@pytest.mark.timeout(3600)
def test_handshakes_a_third_of_them_hostile(tmp_path: Path) -> None:
    with serving(tmp_path, sessions=16, half_open=16, handshake_seconds=5) as running:
        many(running, WARM_UP)
        before, files, threads = rss_mib(), descriptors(), threading.active_count()
        objects = len(gc.get_objects())
        began = time.monotonic()
        good = many(running, COUNT)
        seconds = time.monotonic() - began
        after = rss_mib()
        assert good == COUNT - COUNT // 3
        assert after - before < GROWTH_MIB
        grown = len(gc.get_objects()) - objects
        assert grown < GROWTH_OBJECTS
        assert descriptors() <= files and threading.active_count() <= threads
        assert running.answers()
    print(
        f"\n{COUNT} handshakes, {COUNT // 3} of them hostile, in {seconds:.1f} s: RSS "
        f"{before:.1f} to {after:.1f} MiB, {grown:+d} objects, {running.tee.attested} documents, "
        "the server answers"
    )
