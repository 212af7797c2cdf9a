"""Frames: a type and a length before every message (SPEC.md section 2).

Rule of the file: it knows byte streams (anything with `recv_into` and `sendall`) but opens none.
A length is checked against the limit of its type before a byte of it is stored, and costs memory
only as its bytes come.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from enum import IntEnum
from typing import NamedTuple, Protocol

from enclave.wire.errors import LocalProtocolError, RemoteProtocolError

VERSION = 1
HEADER = struct.Struct(">BBI")  # version, type, length of the body

# AF_VSOCK: kernels since 6.17 send larger writes as packets that some devices corrupt or drop.
VSOCK_WRITE_BYTES = 16 * 1024

BUFFER_BYTES = 64 * 1024  # for a body at first; then as much again as has come


class Type(IntEnum):
    """What a frame is. Below 16 in the clear, from 16 on sealed by the record layer."""

    CLIENT_HELLO = 1
    SERVER_HELLO = 2
    CLIENT_FINISH = 3
    ALERT = 4
    ECHO = 5
    READY = 16
    REQUEST = 17
    RESPONSE = 18
    COLLECT = 19
    REPORT = 20
    END = 21
    GENERATE = 22
    PART = 23


LIMITS = {
    Type.CLIENT_HELLO: 1024,
    Type.SERVER_HELLO: 32 * 1024,
    Type.CLIENT_FINISH: 256,
    Type.ALERT: 0,
    Type.ECHO: 1 << 20,
    Type.READY: 64,
    Type.REQUEST: 256 * 1024,
    Type.RESPONSE: 16 << 20,
    Type.COLLECT: 1024,
    Type.REPORT: 16 << 20,
    Type.END: 64,
    Type.GENERATE: 128 * 1024,
    Type.PART: 64 * 1024,
}


class Frame(NamedTuple):
    """A complete frame; `body` is owned by the receiver."""

    type: Type
    body: bytes | bytearray


class ByteStream(Protocol):
    """The part of a connected stream socket that frames need."""

    def recv_into(self, buffer: memoryview, /) -> int: ...
    def sendall(self, data: bytes | memoryview, /) -> None: ...
    def close(self) -> None: ...


class Channel:
    """Frames over one byte stream, for one thread at a time.

    `pace` is told how many bytes are to be sent or, their header read, received next; what a clock
    is stays outside.
    """

    def __init__(
        self,
        stream: ByteStream,
        *,
        write_bytes: int | None = None,
        pace: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._stream = stream
        self._write_bytes = write_bytes
        self._pace = pace
        self._header = bytearray(HEADER.size)

    def send(self, kind: Type, body: bytes | bytearray | memoryview) -> None:
        """Send one frame; OSError from the stream passes through."""
        if len(body) > LIMITS[kind]:
            raise LocalProtocolError(f"{kind.name} of {len(body)} bytes, limit {LIMITS[kind]}")
        data = b"".join((HEADER.pack(VERSION, kind, len(body)), body))
        self._pace(len(data))
        if self._write_bytes is None:
            self._stream.sendall(data)
            return
        view = memoryview(data)
        for start in range(0, len(data), self._write_bytes):
            self._stream.sendall(view[start : start + self._write_bytes])

    def receive(self, *allowed: Type) -> Frame:
        """Receive one frame of an allowed type; RemoteProtocolError for anything else."""
        self._fill(memoryview(self._header))
        version, number, length = HEADER.unpack(self._header)
        if version != VERSION:
            raise RemoteProtocolError(f"frame version {version}, expected {VERSION}")
        kind = next((kind for kind in allowed if kind == number), None)
        if kind is None:
            names = ", ".join(kind.name for kind in allowed)
            raise RemoteProtocolError(f"frame type {number}, expected {names}")
        if length > LIMITS[kind]:
            raise RemoteProtocolError(f"{kind.name} of {length} bytes, limit {LIMITS[kind]}")
        self._pace(length)
        return Frame(kind, self._body(length))

    def close(self) -> None:
        """Close the stream under it."""
        self._stream.close()

    def _body(self, length: int) -> bytearray:
        body = bytearray(min(length, BUFFER_BYTES))
        self._fill(memoryview(body))
        while len(body) < length:
            came = len(body)
            body += bytes(min(came, length - came))
            self._fill(memoryview(body)[came:])
        return body

    def _fill(self, view: memoryview) -> None:
        while view:
            count = self._stream.recv_into(view)
            if count == 0:
                raise RemoteProtocolError("the peer closed the stream without an authenticated end")
            view = view[count:]
