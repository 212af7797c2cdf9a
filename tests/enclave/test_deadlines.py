from __future__ import annotations

import select
import socket
import time

import pytest

from enclave.deadlines import FRAME_SECONDS, LEAST_BYTES_PER_SECOND, TimedStream
from enclave.wire.frames import HEADER, VERSION, Channel, Type


class Drip:
    """A socket whose peer sends `step` bytes every `pause` seconds, by the clock it carries."""

    def __init__(self, data: bytes, pause: float, step: int = 1) -> None:
        self.data = bytearray(data)
        self.now = 0.0
        self._pause, self._step = pause, step
        self._next, self._came = pause, 0

    def setblocking(self, _: bool) -> None:
        """It never blocks."""

    def wait(self, _: object, events: int, seconds: float) -> None:
        assert events == select.POLLIN
        assert seconds > 0
        self.now = min(self._next, self.now + seconds)

    def recv_into(self, buffer: memoryview) -> int:
        if self.now >= self._next:
            self._came += self._step
            self._next += self._pause
        count = min(len(buffer), self._came, len(self.data))
        if not count:
            raise BlockingIOError
        buffer[:count] = self.data[:count]
        del self.data[:count]
        self._came -= count
        return count


def timed(drip: Drip, seconds: float) -> tuple[TimedStream, Channel]:
    stream = TimedStream(drip, seconds, lambda: drip.now, drip.wait)  # type: ignore[arg-type]
    return stream, Channel(stream, pace=stream.frame)


def frame(kind: Type, length: int) -> bytes:
    return HEADER.pack(VERSION, kind, length) + bytes(length)


@pytest.mark.attack(27)
@pytest.mark.parametrize("pause", [0.5, 4.0, 9.0])
def test_a_phase_ends_in_total_time_however_slow_the_bytes(pause: float) -> None:
    drip = Drip(frame(Type.CLIENT_HELLO, 40), pause)
    _, channel = timed(drip, 10)
    with pytest.raises(TimeoutError):
        channel.receive(Type.CLIENT_HELLO)
    assert drip.now == pytest.approx(10, abs=0.01)


def test_what_comes_in_time_is_received() -> None:
    _, channel = timed(Drip(frame(Type.CLIENT_HELLO, 40), 0.1), 10)
    assert channel.receive(Type.CLIENT_HELLO).body == bytes(40)


@pytest.mark.attack(27)
def test_the_pace_of_a_body_never_prolongs_a_phase() -> None:
    drip = Drip(frame(Type.ECHO, 1 << 20), 1.0, step=64 * 1024)
    _, channel = timed(drip, 5)
    with pytest.raises(TimeoutError):
        channel.receive(Type.ECHO)
    assert drip.now == pytest.approx(5)


@pytest.mark.attack(27)
def test_an_idle_peer_has_so_long_for_a_whole_header() -> None:
    drip = Drip(frame(Type.END, 0), 50.0)
    stream, channel = timed(drip, 1000)
    stream.idle(100)
    with pytest.raises(TimeoutError):
        channel.receive(Type.END)
    assert drip.now == pytest.approx(100)


@pytest.mark.attack(28)
def test_a_peer_that_is_never_idle_ends_with_its_phase() -> None:
    drip = Drip(frame(Type.END, 0) * 1000, 1.0, step=HEADER.size)
    stream, channel = timed(drip, 60)
    with pytest.raises(TimeoutError):
        while True:
            stream.idle(10)
            channel.receive(Type.END)
    assert drip.now == pytest.approx(60)


@pytest.mark.attack(27)
@pytest.mark.parametrize(("factor", "comes"), [(1.0, True), (0.4, False)])
def test_a_body_comes_at_a_least_pace(factor: float, comes: bool) -> None:
    length = 1 << 20
    step = int(LEAST_BYTES_PER_SECOND * factor)
    drip = Drip(frame(Type.ECHO, length), 1.0, step=step)
    stream, channel = timed(drip, 3600)
    stream.idle(600)
    if comes:
        assert len(channel.receive(Type.ECHO).body) == length
        return
    with pytest.raises(TimeoutError):
        channel.receive(Type.ECHO)
    assert drip.now < 2 + FRAME_SECONDS + length / LEAST_BYTES_PER_SECOND


@pytest.mark.attack(27)
def test_a_peer_that_reads_nothing_ends_a_send() -> None:
    near, far = socket.socketpair()
    with near, far:
        stream = TimedStream(near, 0.05)
        began = time.monotonic()
        with pytest.raises(TimeoutError):
            stream.sendall(bytes(8 << 20))
        assert time.monotonic() - began < 5


@pytest.mark.attack(45)
@pytest.mark.parametrize("unread", [0, 1, 100_000])
def test_a_stream_ends_in_good_order_whatever_lies_unread(unread: int) -> None:
    near, far = socket.socketpair()
    with far:
        far.sendall(bytes(unread))
        stream = TimedStream(near, 10)
        stream.sendall(b"last words")
        stream.close()
        assert far.recv(100) == b"last words"
        assert far.recv(100) == b""
        with pytest.raises(BrokenPipeError):
            far.send(b"more")
