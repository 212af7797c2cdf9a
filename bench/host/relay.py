"""A blind relay: bytes from an enclave's channel to one TCP address, and back.

Rule of the file: a connection goes to the one target that the relay was made with, whatever it
carries. A half-closed direction stays half-closed, so ends of streams arrive as they were sent.

    python -m bench.host.relay --listen PATH_OR_VSOCK_PORT --target HOST:PORT --ready-fd N
"""

from __future__ import annotations

import argparse
import ctypes
import os
import select
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from pathlib import Path

BUFFER_BYTES = 256 * 1024
# AF_VSOCK: kernels since 6.17 send larger writes as packets that some devices corrupt or drop.
VSOCK_WRITE_BYTES = 16 * 1024
CONNECT_SECONDS = 5.0
PAUSE_SECONDS = 0.05
PR_SET_PDEATHSIG = 1


class Relay:
    """Listens on a Unix socket path, or on an AF_VSOCK port, for the sake of one TCP target."""

    def __init__(self, listen: Path | int, target: tuple[str, int]) -> None:
        self._listen = listen
        self._target = target
        self._stopping = threading.Event()
        self._threads: set[threading.Thread] = set()
        self._streams: set[socket.socket] = set()
        self._lock = threading.Lock()

    def start(self) -> Relay:
        """Listen, and relay in threads of this process; OSError if the address is taken."""
        listener = _listen(self._listen)
        self._wake, self._woken = socket.socketpair()
        self._acceptor = self._spawn(self._accept, listener)
        return self

    def stop(self) -> None:
        """Close the listener and every connection, and wait until no thread is left."""
        self._stopping.set()
        self._wake.close()
        self._acceptor.join()  # from here on nothing is added
        with self._lock:
            for stream in self._streams:
                _abort(stream)
        for thread in list(self._threads):
            thread.join()

    def __enter__(self) -> Relay:
        return self.start()

    def __exit__(self, *_: object) -> None:
        self.stop()

    def _accept(self, listener: socket.socket) -> None:
        with listener, self._woken:
            while not self._stopping.is_set():
                if self._woken in select.select([listener, self._woken], [], [])[0]:
                    break
                try:
                    self._spawn(self._serve, listener.accept()[0])
                except OSError:  # out of descriptors: those who wait are served later
                    self._stopping.wait(PAUSE_SECONDS)
        if isinstance(self._listen, Path):
            self._listen.unlink(missing_ok=True)

    def _serve(self, near: socket.socket) -> None:
        """One connection: this thread carries what goes out, a second one what comes back."""
        with near:
            try:
                far = socket.create_connection(self._target, CONNECT_SECONDS)
            except OSError:
                return
            with far:
                far.settimeout(None)
                far.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._tracked(near, far):
                    back = threading.Thread(target=_pump, args=(far, near), daemon=True)
                    back.start()
                    _pump(near, far)
                    back.join()

    @contextmanager
    def _tracked(self, *streams: socket.socket) -> Iterator[None]:
        """`stop` finds these streams, or finds them cut already."""
        with self._lock:
            self._streams.update(streams)
            if self._stopping.is_set():
                for stream in streams:
                    _abort(stream)
        try:
            yield
        finally:
            with self._lock:
                self._streams.difference_update(streams)

    def _spawn(
        self, work: Callable[[socket.socket], None], stream: socket.socket
    ) -> threading.Thread:
        def run() -> None:
            try:
                work(stream)
            finally:
                self._threads.discard(thread)

        thread = threading.Thread(target=run, daemon=True)
        self._threads.add(thread)
        thread.start()
        return thread


def _listen(address: Path | int) -> socket.socket:
    family = socket.AF_UNIX if isinstance(address, Path) else socket.AF_VSOCK
    listener = socket.socket(family, socket.SOCK_STREAM)
    try:
        if isinstance(address, Path):
            listener.bind(str(address))
        else:
            listener.bind((socket.VMADDR_CID_ANY, address))
        listener.listen(128)
    except BaseException:
        listener.close()
        raise
    return listener


def _pump(source: socket.socket, sink: socket.socket) -> None:
    """Carry one direction to its end; a broken one takes the other with it."""
    buffer = memoryview(bytearray(BUFFER_BYTES))
    write_bytes = VSOCK_WRITE_BYTES if sink.family == socket.AF_VSOCK else BUFFER_BYTES
    try:
        while count := source.recv_into(buffer):
            for start in range(0, count, write_bytes):
                sink.sendall(buffer[start : min(start + write_bytes, count)])
        sink.shutdown(socket.SHUT_WR)
    except OSError:
        _abort(source)
        _abort(sink)


def _abort(stream: socket.socket) -> None:
    with suppress(OSError):  # it is gone already
        stream.shutdown(socket.SHUT_RDWR)


@contextmanager
def process(listen: Path | int, target: tuple[str, int]) -> Iterator[None]:
    """Run a relay as a process that dies with this one; inside the block it listens."""
    read_end, write_end = os.pipe()
    command = [sys.executable, "-I", __file__, "--listen", str(listen)]
    with subprocess.Popen(
        [*command, "--target", f"{target[0]}:{target[1]}", "--ready-fd", str(write_end)],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        pass_fds=(write_end,),
    ) as relay:
        os.close(write_end)
        try:
            with os.fdopen(read_end) as ready:
                if not ready.readline():
                    raise OSError(f"the relay on {listen} ended before it was ready")
            yield
        finally:
            relay.terminate()


def main() -> None:
    """Relay until terminated."""
    parser = argparse.ArgumentParser(prog="relay")
    parser.add_argument("--listen", required=True, help="path of a unix socket, or vsock port")
    parser.add_argument("--target", required=True, help="host:port")
    parser.add_argument("--ready-fd", type=int, required=True)
    arguments = parser.parse_args()
    ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    endings = {signal.SIGTERM, signal.SIGINT}
    signal.pthread_sigmask(signal.SIG_BLOCK, endings)
    listen = int(arguments.listen) if arguments.listen.isdecimal() else Path(arguments.listen)
    host, _, port = arguments.target.rpartition(":")
    with Relay(listen, (host.strip("[]"), int(port))):
        with os.fdopen(arguments.ready_fd, "w") as ready:
            print("ready", file=ready)
        signal.sigwait(endings)


if __name__ == "__main__":
    main()
