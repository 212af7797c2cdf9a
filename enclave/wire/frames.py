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

# Memory for a body: so much at first, then GROWTH times what has come.
BUFFER_BYTES = 64 * 1024
GROWTH = 16
AHEAD_BYTES = 16 * 1024  # read at a time, so that most frames cost one system call


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
    def sendall(self, data: bytes | bytearray | memoryview, /) -> None: ...
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
        self._ahead = memoryview(bytearray(AHEAD_BYTES))
        self._start = self._end = 0  # of what came and is not taken yet

    def send(self, kind: Type, body: bytes | bytearray | memoryview) -> None:
        """Send one frame; OSError from the stream passes through."""
        if len(body) > LIMITS[kind]:
            raise LocalProtocolError(f"{kind.name} of {len(body)} bytes, limit {LIMITS[kind]}")
        header = HEADER.pack(VERSION, kind, len(body))
        self._pace(len(header) + len(body))
        if len(body) <= BUFFER_BYTES:
            self._write(header + body)
        else:  # a header that waits for nobody costs less than a copy of a long body
            self._write(header)
            self._write(body)

    def receive(self, *allowed: Type) -> Frame:
        """Receive one frame of an allowed type; RemoteProtocolError for anything else."""
        self._await_header()
        version, number, length = HEADER.unpack_from(self._ahead, self._start)
        self._start += HEADER.size
        if version != VERSION:
            raise RemoteProtocolError(f"frame version {version}, expected {VERSION}")
        for kind in allowed:
            if kind == number:
                break
        else:
            names = ", ".join(kind.name for kind in allowed)
            raise RemoteProtocolError(f"frame type {number}, expected {names}")
        if length > LIMITS[kind]:
            raise RemoteProtocolError(f"{kind.name} of {length} bytes, limit {LIMITS[kind]}")
        self._pace(length)
        return Frame(kind, self._body(length))

    def close(self) -> None:
        """Close the stream under it."""
        self._stream.close()

    def _write(self, data: bytes | bytearray | memoryview) -> None:
        if self._write_bytes is None:
            self._stream.sendall(data)
            return
        view = memoryview(data)
        for start in range(0, len(data), self._write_bytes):
            self._stream.sendall(view[start : start + self._write_bytes])

    def _await_header(self) -> None:
        """Read on until a whole header lies there, and whatever came with it."""
        if self._start == self._end:
            self._start = self._end = 0
        elif self._end - self._start < HEADER.size:
            rest = bytes(self._ahead[self._start : self._end])
            self._start, self._end = 0, len(rest)
            self._ahead[: self._end] = rest
        while self._end - self._start < HEADER.size:
            self._end += self._read(self._ahead[self._end :])

    def _body(self, length: int) -> bytearray:
        held = self._ahead[self._start : min(self._start + length, self._end)]
        self._start += len(held)
        if len(held) == length:
            return bytearray(held)
        body, came = bytearray(min(length, BUFFER_BYTES)), len(held)
        body[:came] = held
        while True:
            rest = memoryview(body)[came:]
            while rest:
                rest = rest[self._read(rest) :]
            if (came := len(body)) == length:
                return body
            start, body = body, bytearray(min(length, GROWTH * came))
            body[:came] = start

    def _read(self, view: memoryview) -> int:
        if count := self._stream.recv_into(view):
            return count
        raise RemoteProtocolError("the peer closed the stream without an authenticated end")
