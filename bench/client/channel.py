"""A channel on which nothing is waited for longer than was said."""

from __future__ import annotations

import socket
from collections.abc import Callable

from enclave.deadlines import TimedStream
from enclave.wire.frames import Channel

OPENING_SECONDS = 30.0
ANSWER_SECONDS = 120.0  # behind all others, where many ask at a time
GENERATION_SECONDS = 3600.0  # as long as a session lasts, unless told


class TimedChannel(Channel):
    """Frames over a socket, in exchanges that end in total time; TimeoutError where one does not.

    Until the first one is said to begin, the time is that for opening a session.
    """

    def __init__(
        self,
        stream: socket.socket,
        *,
        write_bytes: int | None = None,
        pace: Callable[[int], None] = lambda _: None,
    ) -> None:
        self._timed = TimedStream(stream, OPENING_SECONDS)
        super().__init__(self._timed, write_bytes=write_bytes, pace=pace)

    def within(self, seconds: float) -> None:
        """An exchange begins: all that follows has to be done within so long."""
        self._timed.phase(seconds)
