"""Stream sockets between an enclave and its parent, with vsock's manners: a parent and ports.

Two backends: real AF_VSOCK, and Firecracker's hybrid vsock on Unix sockets, where the parent dials
one socket and says which port it wants, and the enclave dials a socket named after the port.
"""

from __future__ import annotations

import errno
import socket
import threading
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from queue import SimpleQueue

from enclave.wire.frames import VSOCK_WRITE_BYTES

PARENT_CID = 3
CONNECT_BYTES = 32
CONNECT_SECONDS = 5.0

PAUSE_SECONDS = 0.01  # so that it is no busy loop where descriptors run out

Arrival = tuple[int, socket.socket]
Arrivals = SimpleQueue[Arrival | None]


class HybridVsock:
    """Unix sockets: an inherited listening socket, and a folder with one socket per parent port."""

    write_bytes: int | None = None

    def __init__(self, listener: socket.socket, folder: Path, ports: tuple[int, ...]) -> None:
        self._listener = listener
        self._folder = folder
        self._ports = ports

    def dial(self, port: int) -> socket.socket:
        """Connect to the parent's port; OSError where nothing listens."""
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        try:
            stream.connect(str(self._folder / f"v.sock_{port}"))
        except OSError:
            stream.close()
            raise
        return stream

    def close(self) -> None:
        """Listen no more."""
        self._listener.close()

    def accept(self) -> Iterator[Arrival]:
        """Connections for our ports; a caller that does not say `CONNECT port` is hung up on.

        Each says so on a thread of its own: one that is slow keeps nobody else waiting.
        """
        ready: Arrivals = SimpleQueue()
        greet = partial(_start, self._greet, ready)
        _start(_accept_each, self._listener, greet, ready)
        yield from iter(ready.get, None)

    def _greet(self, ready: Arrivals, stream: socket.socket) -> None:
        try:
            port = _asked_port(stream, time.monotonic() + CONNECT_SECONDS)
            if port not in self._ports:
                raise OSError("no such port")
            stream.sendall(b"OK %d\n" % port)
            stream.settimeout(None)
        except OSError:
            stream.close()
            return
        ready.put((port, stream))


def _asked_port(stream: socket.socket, deadline: float) -> int:
    """The port in `CONNECT port`; OSError for any other line, or none before the deadline."""
    line = b""
    while not line.endswith(b"\n"):
        stream.settimeout(max(deadline - time.monotonic(), 0.001))
        byte = stream.recv(1)
        if not byte or len(line) >= CONNECT_BYTES or time.monotonic() > deadline:
            raise OSError("no CONNECT line")
        line += byte
    word, _, number = line.partition(b" ")
    if word != b"CONNECT" or not number.strip().isdigit():
        raise OSError("not a CONNECT line")
    return int(number)


class Vsock:
    """AF_VSOCK. A peer's CID proves nothing (the parent can be anyone), so none is looked at.

    `offset` is added to every port number; it is 0 where a guest has a CID of its own.
    """

    write_bytes: int | None = VSOCK_WRITE_BYTES

    def __init__(
        self, ports: tuple[int, ...], parent_cid: int = PARENT_CID, offset: int = 0
    ) -> None:
        self._parent_cid = parent_cid
        self._offset = offset
        self._listeners: dict[int, socket.socket] = {}
        try:
            for port in ports:
                self._listeners[port] = _listen_vsock(port + offset)
        except OSError:
            self.close()
            raise

    def dial(self, port: int) -> socket.socket:
        """Connect to the parent's port; OSError where nothing listens."""
        stream = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        try:
            stream.connect((self._parent_cid, port + self._offset))
        except OSError:
            stream.close()
            raise
        return stream

    def close(self) -> None:
        """Listen no more."""
        for listener in self._listeners.values():
            listener.close()

    def accept(self) -> Iterator[Arrival]:
        """Connections on any of our ports."""
        ready: Arrivals = SimpleQueue()
        for port, listener in self._listeners.items():
            _start(_accept_each, listener, partial(_put, ready, port), ready)
        yield from iter(ready.get, None)


def _listen_vsock(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        listener.bind((socket.VMADDR_CID_ANY, port))
        listener.listen(128)
    except OSError:
        listener.close()
        raise
    return listener


def _put(ready: Arrivals, port: int, stream: socket.socket) -> None:
    ready.put((port, stream))


def _accept_each(
    listener: socket.socket, take: Callable[[socket.socket], None], ready: Arrivals
) -> None:
    """Hand on every connection until nobody listens any more, and say so then with None."""
    while True:
        try:
            stream, _ = listener.accept()
        except OSError as error:
            if error.errno in (errno.EBADF, errno.EINVAL):
                ready.put(None)
                return
            time.sleep(PAUSE_SECONDS)  # one that was gone at once, or no descriptor to be had
            continue
        try:
            take(stream)
        except RuntimeError:  # no thread to be had
            stream.close()


def _start(work: Callable[..., None], *arguments: object) -> None:
    threading.Thread(target=work, args=arguments, daemon=True).start()
