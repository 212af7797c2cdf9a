"""An echo on a Unix socket: through the enclave's frames and deadlines, or with bare system calls.

`framed` does what the enclave's echo port does with a connection; `bare` reads four bytes of length
and then as many as it sends back, blocking, with nothing else between.
"""

from __future__ import annotations

import atexit
import contextlib
import os
import platform
import socket
import struct
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from bench.peers import Message, Order
from enclave.deadlines import TimedStream
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import Channel, Type

LENGTH = struct.Struct(">I")
SESSION_SECONDS = 3600.0
BARE = "bare"


@dataclass(frozen=True, slots=True)
class Echo:
    """A listening socket and the thread behind it."""

    path: Path

    def facts(self) -> Message:
        """As the engines' facts, and where to connect."""
        return {
            "python": platform.python_version(),
            "cpus": sorted(os.sched_getaffinity(0)),
            "path": str(self.path),
        }

    def answer(self, request: Message) -> Message:
        """`{cpu}` is where all its threads go; it echoes on its socket alone."""
        for thread in Path("/proc/self/task").iterdir():
            os.sched_setaffinity(int(thread.name), [request["cpu"]])
        return {}


def open(order: Order) -> Echo:  # noqa: A001
    """Listen in a folder that ends with the process, and serve one connection after another."""
    folder = tempfile.TemporaryDirectory(prefix="confbench-echo-")
    atexit.register(folder.cleanup)
    path = Path(folder.name) / "echo.sock"
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(str(path))
    listener.listen()
    serve = _bare if order.side == BARE else _framed
    threading.Thread(target=_accept, args=(listener, serve), daemon=True).start()
    return Echo(path)


@contextlib.contextmanager
def connected(side: str, path: str) -> Iterator[Callable[[bytes], None]]:
    """A connection of the kind `side`: called with a payload, it waits until all of it is back."""
    with socket.socket(socket.AF_UNIX) as stream:
        stream.connect(path)
        channel = Channel(stream)

        def exchange(payload: bytes) -> None:
            channel.send(Type.ECHO, payload)
            channel.receive(Type.ECHO)

        yield partial(_exchange, stream) if side == BARE else exchange


def _exchange(stream: socket.socket, payload: bytes) -> None:
    stream.sendall(LENGTH.pack(len(payload)) + payload)
    _receive(stream, len(payload))


def _accept(listener: socket.socket, serve: Callable[[socket.socket], None]) -> None:
    while True:
        stream, _ = listener.accept()
        with stream, contextlib.suppress(EOFError, RemoteProtocolError):
            serve(stream)


def _framed(stream: socket.socket) -> None:
    timed = TimedStream(stream, SESSION_SECONDS, time.monotonic)
    channel = Channel(timed, pace=timed.frame)
    timed.phase(SESSION_SECONDS)
    while True:
        timed.idle(SESSION_SECONDS)
        channel.send(*channel.receive(Type.ECHO))


def _bare(stream: socket.socket) -> None:
    while True:
        (length,) = LENGTH.unpack(_receive(stream, LENGTH.size))
        stream.sendall(_receive(stream, length))


def _receive(stream: socket.socket, length: int) -> bytearray:
    data = bytearray(length)
    rest = memoryview(data)
    while rest:
        count = stream.recv_into(rest)
        if count == 0:
            raise EOFError("the other end of the echo is gone")
        rest = rest[count:]
    return data
