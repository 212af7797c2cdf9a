"""Monotonic stopwatches; times are nanoseconds of this side's own clock."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from time import perf_counter_ns


class Stages:
    """Sums of time per named stage, in the order first seen."""

    def __init__(self) -> None:
        self.elapsed_ns: dict[str, int] = {}

    def add(self, name: str, elapsed_ns: int) -> None:
        """Add time to a stage."""
        self.elapsed_ns[name] = self.elapsed_ns.get(name, 0) + elapsed_ns

    def rows(self) -> list[list[str | int]]:
        """[stage, nanoseconds] in order; a CBOR map would sort them."""
        return [[name, elapsed_ns] for name, elapsed_ns in self.elapsed_ns.items()]

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        start = perf_counter_ns()
        try:
            yield
        finally:
            self.add(name, perf_counter_ns() - start)


class Marks:
    """When each moment of a request was reached: one row per request, time since the moment before.

    A row starts at `received` and is kept at `sent`, if the request reached inference.
    """

    def __init__(self) -> None:
        self._last_ns = 0
        self._row: dict[str, int] = {}
        self._rows: list[dict[str, int]] = []

    def __call__(self, moment: str) -> None:
        now = perf_counter_ns()
        if moment == "received":
            self._row = {}
        else:
            self._row[moment] = now - self._last_ns
        self._last_ns = now
        if moment == "sent" and "inferred" in self._row:
            self._rows.append(self._row)

    def take(self) -> dict[str, list[int]]:
        """The rows so far, one list per moment in request order; they are then forgotten."""
        rows, self._rows = self._rows, []
        return {moment: [row[moment] for row in rows] for moment in (rows[0] if rows else ())}
