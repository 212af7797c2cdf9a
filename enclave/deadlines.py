"""A socket with deadlines that count in total: a byte now and then moves none of them.

While a phase lasts (`phase`) nothing goes beyond its end. Once it is over (`idle`), the header of
the next frame has to be there in time, and every body comes and goes at a least pace.
"""

from __future__ import annotations

import math
import select
import socket
import time
from collections.abc import Callable

FRAME_SECONDS = 10.0
LEAST_BYTES_PER_SECOND = 64 * 1024

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
        """No phase any more; the next frame has to begin within so long."""
        self._end = math.inf
        self._deadline = self._clock() + seconds

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

    def sendall(self, data: bytes | memoryview) -> None:
        """As a socket's, in the time that is left for all of it."""
        rest = memoryview(data)
        while rest:
            left = self._left()
            try:
                rest = rest[self._stream.send(rest) :]
            except BlockingIOError:
                self._wait(self._stream, select.POLLOUT, left)

    def close(self) -> None:
        """Close the socket."""
        self._stream.close()

    def _left(self) -> float:
        left = self._deadline - self._clock()
        if left <= 0:
            raise TimeoutError("the peer took too long")
        return left
