from __future__ import annotations

import tracemalloc

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from enclave.wire.frames import (
    AHEAD_BYTES,
    BUFFER_BYTES,
    GROWTH,
    HEADER,
    LIMITS,
    VSOCK_WRITE_BYTES,
    Channel,
    Type,
)
from tests.wire.streams import Pipe

BODY = b"body of a request"


def frame(version: int = 1, kind: int = Type.REQUEST, length: int | None = None) -> bytes:
    return HEADER.pack(version, kind, len(BODY) if length is None else length) + BODY


def receive(data: bytes, step: int = 1 << 30) -> tuple[Type, bytes]:
    pipe = Pipe(step)
    pipe.data += data
    kind, body = Channel(pipe).receive(Type.REQUEST, Type.END)
    return kind, bytes(body)


@pytest.mark.attack(27)
@pytest.mark.parametrize("step", [1 << 30, 1], ids=["whole", "byte by byte"])
def test_what_is_sent_is_received(step: int) -> None:
    pipe = Pipe(step)
    Channel(pipe).send(Type.REQUEST, BODY)
    assert Channel(pipe).receive(Type.REQUEST) == (Type.REQUEST, BODY)


@pytest.mark.parametrize("step", [1 << 30, 7, 1], ids=["whole", "in pieces", "byte by byte"])
@pytest.mark.parametrize("length", [0, 5, AHEAD_BYTES - HEADER.size - 3, BUFFER_BYTES + 1])
def test_frames_that_come_together_are_received_one_after_the_other(length: int, step: int) -> None:
    pipe = Pipe(step)
    bodies = [bytes([number]) * length for number in range(4)]
    for body in bodies:
        Channel(pipe).send(Type.ECHO, body)
    channel = Channel(pipe)
    assert [channel.receive(Type.ECHO).body for _ in bodies] == bodies
    assert not pipe.data


@pytest.mark.attack(27)
@pytest.mark.parametrize(
    ("data", "message"),
    [
        (frame(version=2), "version 2"),
        (frame(kind=Type.RESPONSE), "frame type 18, expected REQUEST, END"),
        (frame(kind=99), "frame type 99"),
        (frame(length=LIMITS[Type.REQUEST] + 1), "limit"),
        (frame(length=2**31), "limit"),
        (frame()[:-1], "authenticated end"),
        (frame()[:3], "authenticated end"),
        (b"", "authenticated end"),
    ],
    ids=["version", "type", "unknown", "long", "2 GiB", "short body", "short header", "nothing"],
)
def test_refused(data: bytes, message: str) -> None:
    with pytest.raises(RemoteProtocolError, match=message):
        receive(data)


@given(st.binary(max_size=64))
def test_nothing_but_the_declared_error(data: bytes) -> None:
    try:
        receive(data)
    except RemoteProtocolError:
        return
    assert data.startswith(b"\x01")


def test_vsock_writes_are_short() -> None:
    pipe = Pipe()
    Channel(pipe, write_bytes=VSOCK_WRITE_BYTES).send(Type.ECHO, bytes(100_000))
    assert max(pipe.writes) == VSOCK_WRITE_BYTES
    assert Channel(pipe).receive(Type.ECHO).body == bytes(100_000)


def test_our_own_oversize_is_our_bug() -> None:
    with pytest.raises(LocalProtocolError, match="CLIENT_HELLO of 1025 bytes"):
        Channel(Pipe()).send(Type.CLIENT_HELLO, bytes(1025))


@pytest.mark.parametrize("step", [1 << 30, 1000], ids=["whole", "in pieces"])
@pytest.mark.parametrize("length", [0, 1, BUFFER_BYTES, BUFFER_BYTES + 1, 20 * BUFFER_BYTES + 5])
def test_long_bodies_arrive_whole(length: int, step: int) -> None:
    pipe = Pipe(step)
    body = bytes(number % 251 for number in range(length))
    Channel(pipe).send(Type.RESPONSE, body)
    Channel(pipe).send(Type.RESPONSE, b"more")
    channel = Channel(pipe)
    assert channel.receive(Type.RESPONSE).body == body
    assert channel.receive(Type.RESPONSE).body == b"more"


@pytest.mark.parametrize("came", [0, 10, 200_000])
def test_a_length_costs_nothing_until_its_bytes_come(came: int) -> None:
    pipe = Pipe()
    pipe.data += HEADER.pack(1, Type.RESPONSE, 16 << 20) + bytes(came)
    tracemalloc.start()
    try:
        with pytest.raises(RemoteProtocolError, match="authenticated end"):
            Channel(pipe).receive(Type.RESPONSE)
        _, peak = tracemalloc.get_traced_memory()
    finally:
        tracemalloc.stop()
    assert peak < AHEAD_BYTES + BUFFER_BYTES + (GROWTH + 1) * came + 8192


def test_the_pace_hears_of_every_body_before_it() -> None:
    told: list[int] = []
    pipe = Pipe()
    channel = Channel(pipe, pace=lambda length: told.append(length))
    channel.send(Type.ECHO, BODY)
    assert told == [HEADER.size + len(BODY)]
    channel.receive(Type.ECHO)
    assert told[1:] == [len(BODY)]
    pipe.data += HEADER.pack(1, Type.ECHO, 2**31)
    with pytest.raises(RemoteProtocolError, match="limit"):
        channel.receive(Type.ECHO)
    assert len(told) == 2
