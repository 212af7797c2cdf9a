"""Places: how many peers may hold something of ours at a time. Whoever finds none is refused."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager

from enclave.wire.errors import RemoteProtocolError


class ResourceExhaustedError(RemoteProtocolError):
    """All places are taken (gRPC's RESOURCE_EXHAUSTED); on the wire an ALERT like any other."""


class Places:
    """A fixed number of places, free again as soon as whoever had one is gone."""

    def __init__(self, what: str, count: int) -> None:
        self._what = what
        self._count = count
        self._taken = 0
        self._lock = threading.Lock()

    @property
    def taken(self) -> int:
        """How many are in use."""
        return self._taken

    def check(self) -> None:
        """ResourceExhaustedError if none is free; cheap, and promises nothing."""
        if self._taken >= self._count:
            raise ResourceExhaustedError(f"all {self._count} {self._what} are in use")

    @contextmanager
    def take(self) -> Iterator[None]:
        """Hold a place, or ResourceExhaustedError at once."""
        with self._lock:
            self.check()
            self._taken += 1
        try:
            yield
        finally:
            with self._lock:
                self._taken -= 1
