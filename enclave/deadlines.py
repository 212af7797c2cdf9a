"""A socket with deadlines that count in total: a byte now and then moves none of them.

Nothing goes beyond the end of a phase, be it a handshake or a whole session. Within it a pause ends
in time (`idle`), and every body comes and goes at a least pace (`frame`).
"""

from __future__ import annotations

import contextlib
import math
import select
import socket
import time
from collections.abc import Callable

FRAME_SECONDS = 10.0
LEAST_BYTES_PER_SECOND = 64 * 1024
UNREAD_BYTES = 64 * 1024  # taken at a time off a stream that ends
UNREAD_TIMES = 64  # far more than a socket keeps for a reader

Clock = Callable[[], float]
Wait = Callable[[socket.socket, int, float], None]


def wait(stream: socket.socket, events: int, seconds: float) -> None:
    """Until the socket is ready (POLLIN, POLLOUT), or so long."""
    poll = select.poll()
    poll.register(stream, events)
    poll.poll(math.ceil(seconds * 1000))


class TimedStream:
    """A ByteStream; TimeoutError (an OSError) at a deadline. `clock` gives seconds.

    The socket does not block: what is ready costs one system call, and only the rest is waited for.
    """

    def __init__(
        self,
        stream: socket.socket,
        seconds: float,
        clock: Clock = time.monotonic,
        wait: Wait = wait,
    ) -> None:
        stream.setblocking(False)
        self._stream = stream
        self._clock = clock
        self._wait = wait
        self.phase(seconds)

    def phase(self, seconds: float) -> None:
        """All that follows has to be done within so long."""
        self._end = self._deadline = self._clock() + seconds

    def idle(self, seconds: float) -> None:
        """The next frame has to begin within so long."""
        self._deadline = min(self._end, self._clock() + seconds)

    def frame(self, length: int) -> None:
        """So many bytes are to come or go now."""
        allowed = FRAME_SECONDS + length / LEAST_BYTES_PER_SECOND
        self._deadline = min(self._end, self._clock() + allowed)

    def recv_into(self, buffer: memoryview) -> int:
        """As a socket's, in the time that is left."""
        while True:
            left = self._left()
            try:
                return self._stream.recv_into(buffer)
            except BlockingIOError:
                self._wait(self._stream, select.POLLIN, left)

    def sendall(self, data: bytes | bytearray | memoryview) -> None:
        """As a socket's, in the time that is left for all of it."""
        sent = 0
        while sent < len(data):
            left = self._left()
            try:
                sent += self._stream.send(memoryview(data)[sent:])
            except BlockingIOError:
                self._wait(self._stream, select.POLLOUT, left)

    def close(self) -> None:
        """End the stream in good order, whatever was sent and not read.

        Closed over unread bytes it would be reset, which tells a peer how far he was read.
        """
        with contextlib.suppress(OSError):
            self._stream.shutdown(socket.SHUT_RDWR)
            for _ in range(UNREAD_TIMES):
                if not self._stream.recv(UNREAD_BYTES):
                    break
        self._stream.close()

    def _left(self) -> float:
        left = self._deadline - self._clock()
        if left <= 0:
            raise TimeoutError("the peer took too long")
        return left
