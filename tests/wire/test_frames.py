from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from enclave.wire.frames import HEADER, LIMITS, VSOCK_WRITE_BYTES, Channel, Type
from tests.wire.streams import Pipe

BODY = b"body of a request"


def frame(version: int = 1, kind: int = Type.REQUEST, length: int | None = None) -> bytes:
    return HEADER.pack(version, kind, len(BODY) if length is None else length) + BODY


def receive(data: bytes, step: int = 1 << 30) -> tuple[Type, bytes]:
    pipe = Pipe(step)
    pipe.data += data
    kind, body = Channel(pipe).receive(Type.REQUEST, Type.END)
    return kind, bytes(body)


@pytest.mark.parametrize("step", [1 << 30, 1], ids=["whole", "byte by byte"])
def test_what_is_sent_is_received(step: int) -> None:
    pipe = Pipe(step)
    Channel(pipe).send(Type.REQUEST, BODY)
    assert Channel(pipe).receive(Type.REQUEST) == (Type.REQUEST, BODY)


def test_a_following_frame_stays_in_the_stream() -> None:
    pipe = Pipe()
    pipe.data += frame() + b"more"
    assert Channel(pipe).receive(Type.REQUEST).body == BODY
    assert pipe.data == b"more"


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
