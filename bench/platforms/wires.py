"""The channel between a parent and a guest on this machine, from the parent's side.

Two kinds with one manner (a parent, and ports): Firecracker's hybrid vsock on Unix sockets, and
real AF_VSOCK where the kernel has a loopback for it. enclave/tee/channels.py is the other end.
"""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench.platforms import PlatformError
from enclave.wire.frames import VSOCK_WRITE_BYTES

BACKLOG = 256
CONNECT_SECONDS = 10.0
PROBE_SECONDS = 0.2
LOOPBACK_CID = 1  # VMADDR_CID_LOCAL: parent and guest share this kernel


class Wires(Protocol):
    """The channel of one guest."""

    @property
    def write_bytes(self) -> int | None: ...

    @property
    def descriptors(self) -> tuple[int, ...]:
        """What the guest's process has to inherit."""

    def address(self, port: int) -> Path | int:
        """Where the parent listens for what the guest dials."""

    def listen(self, port: int) -> socket.socket:
        """A listening socket for one port of the parent."""

    def arguments(self, folder: Path) -> list[str]:
        """What the guest is told; `folder` is where it sees the parent's sockets."""

    def connect(self, port: int) -> socket.socket:
        """A stream to one of the guest's ports."""

    def close(self) -> None:
        """Let go of what was listening."""


class HybridVsock:
    """Unix sockets in a folder: `v.sock` to the guest, `v.sock_PORT` for ports of the parent."""

    write_bytes: int | None = None

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._listener = listen(folder / "v.sock")
        self.descriptors = (self._listener.fileno(),)

    def address(self, port: int) -> Path:
        return self._folder / f"v.sock_{port}"

    def listen(self, port: int) -> socket.socket:
        return listen(self.address(port))

    def arguments(self, folder: Path) -> list[str]:
        return ["unix", str(self._listener.fileno()), str(folder)]

    def connect(self, port: int) -> socket.socket:
        """PlatformError where the guest does not listen on that port."""
        stream = connect(self._folder / "v.sock")
        try:
            stream.settimeout(CONNECT_SECONDS)
            stream.sendall(b"CONNECT %d\n" % port)
            answer = b""
            while not answer.endswith(b"\n"):
                byte = stream.recv(1)
                if not byte:
                    raise PlatformError(f"the enclave does not listen on port {port}")
                answer += byte
            stream.settimeout(None)
        except BaseException:
            stream.close()
            raise
        return stream

    def close(self) -> None:
        self._listener.close()


class Vsock:
    """AF_VSOCK over the kernel's loopback; `offset` keeps guests of one machine apart."""

    write_bytes: int | None = VSOCK_WRITE_BYTES
    descriptors: tuple[int, ...] = ()

    def __init__(self, offset: int) -> None:
        self._offset = offset

    def address(self, port: int) -> int:
        return port + self._offset

    def listen(self, port: int) -> socket.socket:
        return _bound(self.address(port))

    def arguments(self, folder: Path) -> list[str]:
        return ["vsock", str(LOOPBACK_CID), str(self._offset)]

    def connect(self, port: int) -> socket.socket:
        stream = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
        try:
            stream.settimeout(CONNECT_SECONDS)
            stream.connect((LOOPBACK_CID, self.address(port)))
            stream.settimeout(None)
        except BaseException:
            stream.close()
            raise
        return stream

    def close(self) -> None:
        """Nothing was listening here."""


@dataclass(frozen=True, slots=True)
class WiredEndpoint:
    """A running guest at the end of its wires."""

    start_ns: Mapping[str, int]
    wires: Wires

    @property
    def write_bytes(self) -> int | None:
        """The most that one write may carry."""
        return self.wires.write_bytes

    def connect(self, port: int) -> socket.socket:
        """A stream to one of the guest's ports."""
        return self.wires.connect(port)


def require_vsock() -> None:
    """PlatformError unless AF_VSOCK reaches this very machine."""
    try:
        with contextlib.ExitStack() as stack:
            listener = stack.enter_context(_bound(socket.VMADDR_PORT_ANY))
            stream = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
            stack.enter_context(stream).settimeout(PROBE_SECONDS)
            stream.connect((LOOPBACK_CID, listener.getsockname()[1]))
    except OSError as error:
        raise PlatformError(
            f"transport vsock does not work on this machine: {error}",
            hint="modprobe vsock_loopback, or set transport: uds",
        ) from None


def listen(path: Path) -> socket.socket:
    """A listening Unix socket."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen(BACKLOG)
    return listener


def connect(path: Path) -> socket.socket:
    """A connected Unix socket."""
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.connect(str(path))
    except OSError:
        stream.close()
        raise
    return stream


def dial(address: Path | int) -> socket.socket:
    """A stream to where the parent listens, as a guest dials it."""
    if isinstance(address, Path):
        return connect(address)
    stream = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        stream.connect((LOOPBACK_CID, address))
    except OSError:
        stream.close()
        raise
    return stream


def _bound(port: int) -> socket.socket:
    listener = socket.socket(socket.AF_VSOCK, socket.SOCK_STREAM)
    try:
        listener.bind((socket.VMADDR_CID_ANY, port))
        listener.listen(BACKLOG)
    except OSError:
        listener.close()
        raise
    return listener
