"""Servers as processes of this machine: how they are started, when they are ready, how they end.

Both kinds are reached through Unix sockets in a folder of their own, which goes with them.
"""

from __future__ import annotations

import os
import select
import shutil
import socket
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from bench.emulators.process import Process, spawn
from bench.platforms import PlatformError, wires

READY = b"ready\n"
REFUSAL = "error: the enclave does not start:"  # as enclave/__main__.py has it
READY_SECONDS = 180.0
FOLDER = "confbench-"
REPOSITORY = Path(__file__).parents[2]


@dataclass(frozen=True, slots=True)
class PlainEndpoint:
    """The plain server: a Unix socket to serve on, and an echo over TCP loopback."""

    start_ns: Mapping[str, int]
    sockets: Mapping[int, Path | tuple[str, int]]
    write_bytes: int | None = None

    def connect(self, port: int) -> socket.socket:
        """A stream to one of the server's ports."""
        place = self.sockets[port]
        if isinstance(place, Path):
            return wires.connect(place)
        stream = socket.create_connection(place)
        stream.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        return stream


@contextmanager
def run_folder() -> Iterator[Path]:
    """A private folder with a path short enough for Unix sockets; it names the process it is of."""
    folder = Path(tempfile.mkdtemp(prefix=f"{FOLDER}{os.getpid()}-"))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def sweep() -> None:
    """Remove run folders of ours whose process is gone: it was killed before it could."""
    for folder in Path(tempfile.gettempdir()).glob(f"{FOLDER}*-*"):
        pid = folder.name.removeprefix(FOLDER).split("-")[0]
        dead = pid.isdigit() and not Path("/proc", pid).exists()
        if dead and folder.lstat().st_uid == os.getuid():
            shutil.rmtree(folder, ignore_errors=True)


def cpus(count: int) -> list[int]:
    """The first CPUs this process may use."""
    allowed = sorted(os.sched_getaffinity(0))
    if len(allowed) < count:
        raise PlatformError(
            f"{len(allowed)} CPUs may be used here, the instance's row wants {count}",
            hint="choose an instance that this machine can hold, or free CPUs",
        )
    return allowed[:count]


def start(argv: Sequence[str], *, pass_fds: Sequence[int], log: Path) -> tuple[Process, int]:
    """Start a server; the process and when, in nanoseconds of the monotonic clock."""
    began = now_ns()
    return spawn(argv, pass_fds=pass_fds, cwd=REPOSITORY, log=log), began


def now_ns() -> int:
    """The clock that start-up is measured by."""
    return time.monotonic_ns()


def accept(process: Process, listener: socket.socket, what: str) -> socket.socket:
    """The first connection; PlatformError with the end of the log if the server ends before."""
    while not select.select([listener], [], [], 0.05)[0]:
        if process.wait(0) is not None:
            raise PlatformError(f"{what} ended at its start", hint=_log(process))
    return listener.accept()[0]


def wait_ready(process: Process, descriptor: int, what: str) -> int:
    """When the server said that it is ready; PlatformError with the end of its log if not."""
    deadline = time.monotonic() + READY_SECONDS
    said = b""
    while READY not in said:
        left = deadline - time.monotonic()
        readable, _, _ = select.select([descriptor], [], [], max(left, 0))
        data = os.read(descriptor, 64) if readable else b""
        if not data:
            process.wait(1.0)
            raise PlatformError(f"{what} did not become ready", hint=_log(process))
        said += data
    return now_ns()


def refusal(error: PlatformError) -> str:
    """The reason that an enclave gave for not starting; the error again where it gave none."""
    last = str(error).rstrip().rpartition("\n")[2].removeprefix("hint: ")
    if not last.startswith(REFUSAL):
        raise error
    return last.removeprefix(REFUSAL).strip()


def _log(process: Process) -> str:
    return process.tail().strip() or "its log is empty"
