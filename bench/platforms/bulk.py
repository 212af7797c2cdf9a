"""A source of bytes that never ends, for what a relay carries in a second."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager, suppress

PIECE_BYTES = 256 * 1024


@contextmanager
def source() -> Iterator[tuple[str, int]]:
    """The address of a loopback port where whoever connects is sent bytes until he leaves."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        accepting = threading.Thread(target=_accept, args=(listener,), daemon=True)
        accepting.start()
        yield listener.getsockname()
        listener.shutdown(socket.SHUT_RDWR)  # wakes the accept, which closing does not
        accepting.join()


def _accept(listener: socket.socket) -> None:
    with suppress(OSError):  # nobody listens any more
        while True:
            threading.Thread(target=_send, args=(listener.accept()[0],), daemon=True).start()


def _send(stream: socket.socket) -> None:
    piece = bytes(PIECE_BYTES)
    with stream, suppress(OSError):
        while True:
            stream.sendall(piece)
