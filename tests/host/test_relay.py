"""The relay carries bytes both ways, keeps half-closed streams, and leaves nothing behind."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from bench.host import relay
from bench.host.relay import Relay

TIMEOUT_S = 10.0


@contextmanager
def target(serve: Callable[[socket.socket], None]) -> Iterator[tuple[str, int]]:
    """A TCP server whose connections are handled by `serve`, one after the other."""
    listener = socket.create_server(("127.0.0.1", 0))

    def accept() -> None:
        while True:
            try:
                stream, _ = listener.accept()
            except OSError:
                return
            with stream:
                stream.settimeout(TIMEOUT_S)
                serve(stream)

    thread = threading.Thread(target=accept)
    thread.start()
    try:
        yield listener.getsockname()
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        thread.join()
        listener.close()


def dial(path: Path) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX)
    stream.settimeout(TIMEOUT_S)
    stream.connect(str(path))
    return stream


def read_all(stream: socket.socket) -> bytes:
    data = b""
    while chunk := stream.recv(1 << 16):
        data += chunk
    return data


def answer_after_the_end(stream: socket.socket) -> None:
    """Says how much came, but only once the other side has ended its half."""
    stream.sendall(b"%d bytes" % len(read_all(stream)))


def echo(stream: socket.socket) -> None:
    while chunk := stream.recv(1 << 16):
        stream.sendall(chunk)


def test_half_close_reaches_the_target_and_the_answer_comes_back(tmp_path: Path) -> None:
    path = tmp_path / "v.sock_8000"
    with target(answer_after_the_end) as address, Relay(path, address), dial(path) as stream:
        stream.sendall(bytes(1_000_000))
        stream.shutdown(socket.SHUT_WR)
        assert read_all(stream) == b"1000000 bytes"


def test_bytes_come_back_unchanged_and_in_order(tmp_path: Path) -> None:
    path = tmp_path / "v.sock_8000"
    sent = bytes(range(256)) * 8192
    with target(echo) as address, Relay(path, address), dial(path) as stream:

        def send() -> None:
            stream.sendall(sent)
            stream.shutdown(socket.SHUT_WR)

        sender = threading.Thread(target=send)
        sender.start()
        assert read_all(stream) == sent
        sender.join()


def test_many_connections_at_once_stay_apart(tmp_path: Path) -> None:
    path = tmp_path / "v.sock_8000"

    def serve(stream: socket.socket) -> None:
        threading.Thread(target=echo_and_close, args=(stream.dup(),)).start()

    def echo_and_close(stream: socket.socket) -> None:
        with stream:
            echo(stream)

    with target(serve) as address, Relay(path, address):
        streams = [dial(path) for _ in range(8)]
        for number, stream in enumerate(streams):
            stream.sendall(b"stream %d" % number)
        for number, stream in reversed(list(enumerate(streams))):
            with stream:
                stream.shutdown(socket.SHUT_WR)
                assert read_all(stream) == b"stream %d" % number


def test_target_that_drops_ends_the_callers_stream(tmp_path: Path) -> None:
    path = tmp_path / "v.sock_8000"
    with target(lambda stream: None) as address, Relay(path, address), dial(path) as stream:
        assert read_all(stream) == b""


def test_target_that_resets_ends_the_callers_stream(tmp_path: Path) -> None:
    def reset(stream: socket.socket) -> None:
        stream.recv(1)
        stream.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\x01\0\0\0\0\0\0\0")

    path = tmp_path / "v.sock_8000"
    with target(reset) as address, Relay(path, address), dial(path) as stream:
        stream.sendall(b"x")
        assert read_all(stream) == b""


def test_absent_target_hangs_up_and_the_relay_lives_on(tmp_path: Path) -> None:
    path = tmp_path / "v.sock_8000"
    with target(echo) as address:
        pass
    with Relay(path, address):
        for _ in range(2):
            with dial(path) as stream:
                assert stream.recv(1) == b""


def test_stop_cuts_open_connections_and_removes_the_socket(tmp_path: Path) -> None:
    path = tmp_path / "v.sock_8000"
    threads = threading.active_count()
    with target(echo) as address:
        running = Relay(path, address).start()
        with dial(path) as stream:
            stream.sendall(b"x")
            assert stream.recv(1) == b"x"
            running.stop()
            assert stream.recv(1) == b""
        assert not path.exists()
        with socket.socket(socket.AF_UNIX) as late, pytest.raises(FileNotFoundError):
            late.connect(str(path))
    assert threading.active_count() == threads


def test_address_that_is_taken_is_an_error(tmp_path: Path) -> None:
    path = tmp_path / "v.sock_8000"
    with (
        Relay(path, ("127.0.0.1", 1)),
        pytest.raises(OSError, match="in use"),
    ):
        Relay(path, ("127.0.0.1", 1)).start()


def test_writes_to_vsock_stay_within_16_kib() -> None:
    class Recorder:
        """Stands for an AF_VSOCK stream, which this machine may not have."""

        family = socket.AF_VSOCK

        def __init__(self) -> None:
            self.sizes: list[int] = []

        def sendall(self, data: memoryview) -> None:
            self.sizes.append(len(data))

        def shutdown(self, how: int) -> None:
            self.sizes.append(-how)

    near, far = socket.socketpair()
    sink = Recorder()
    with near, far:
        far.sendall(bytes(100_000))
        far.shutdown(socket.SHUT_WR)
        relay._pump(near, sink)  # type: ignore[arg-type]
    assert sum(sink.sizes[:-1]) == 100_000
    assert max(sink.sizes) <= 16 * 1024
    assert sink.sizes[-1] == -socket.SHUT_WR


def test_own_process_relays_and_ends_with_its_block(tmp_path: Path) -> None:
    path = tmp_path / "v.sock_8001"
    with target(answer_after_the_end) as address:
        with relay.process(path, address), dial(path) as stream:
            stream.sendall(b"abc")
            stream.shutdown(socket.SHUT_WR)
            assert read_all(stream) == b"3 bytes"
        assert not path.exists()
