"""Stream sockets between an enclave and its parent, with vsock's manners: a parent and ports.

Two backends: real AF_VSOCK, and Firecracker's hybrid vsock on Unix sockets, where the parent dials
one socket and says which port it wants, and the enclave dials a socket named after the port.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from pathlib import Path
from queue import SimpleQueue

from enclave.wire.frames import VSOCK_WRITE_BYTES

PARENT_CID = 3
CONNECT_BYTES = 32
CONNECT_SECONDS = 5.0


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

    def accept(self) -> Iterator[tuple[int, socket.socket]]:
        """Connections for our ports; a caller that does not say `CONNECT port` is hung up on."""
        while True:
            stream, _ = self._listener.accept()
            port = _asked_port(stream)
            if port in self._ports:
                stream.sendall(b"OK %d\n" % port)
                yield port, stream
            else:
                stream.close()


def _asked_port(stream: socket.socket) -> int | None:
    stream.settimeout(CONNECT_SECONDS)
    line = b""
    try:
        while not line.endswith(b"\n") and len(line) < CONNECT_BYTES:
            byte = stream.recv(1)
            if not byte:
                return None
            line += byte
    except OSError:
        return None
    stream.settimeout(None)
    word, _, number = line.partition(b" ")
    return int(number) if word == b"CONNECT" and number.strip().isdigit() else None


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
        self._listeners = {port: _listen_vsock(port + offset) for port in ports}

    def dial(self, port: int) -> socket.socket:
        """Connect to the parent's port; OSError where nothing listens."""
        stream = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        try:
            stream.connect((self._parent_cid, port + self._offset))
        except OSError:
            stream.close()
            raise
        return stream

    def accept(self) -> Iterator[tuple[int, socket.socket]]:
        """Connections on any of our ports."""
        ready: SimpleQueue[tuple[int, socket.socket]] = SimpleQueue()
        for port, listener in self._listeners.items():
            arguments = port, listener, ready
            threading.Thread(target=_accept_into, args=arguments, daemon=True).start()
        while True:
            yield ready.get()


def _listen_vsock(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    listener.bind((socket.VMADDR_CID_ANY, port))
    listener.listen(128)
    return listener


def _accept_into(
    port: int, listener: socket.socket, ready: SimpleQueue[tuple[int, socket.socket]]
) -> None:
    while True:
        ready.put((port, listener.accept()[0]))
