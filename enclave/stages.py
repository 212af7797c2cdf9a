"""Monotonic stopwatches; times are nanoseconds of this side's own clock."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from time import perf_counter_ns


@dataclass(slots=True)
class _Stage:
    begin_ns: int
    elapsed_ns: int = 0
    inside: int = 0
    since_ns: int = 0


class Stages:
    """When each named stage began, and for how long it was under way.

    Stages may overlap, and several threads may be in one: its time runs while anyone is.
    """

    def __init__(self, clock_ns: Callable[[], int] = perf_counter_ns) -> None:
        self._clock_ns = clock_ns
        self._origin_ns = clock_ns()
        self._stages: dict[str, _Stage] = {}
        self._lock = Lock()

    def rows(self) -> list[list[str | int]]:
        """[stage, nanoseconds under way, when it began], in the order of beginning.

        Beginnings count from when this was made. A CBOR map would sort the names.
        """
        with self._lock:
            return [[name, s.elapsed_ns, s.begin_ns] for name, s in self._stages.items()]

    @contextmanager
    def __call__(self, name: str) -> Iterator[None]:
        self._enter(name)
        try:
            yield
        finally:
            self._leave(name)

    def _enter(self, name: str) -> None:
        with self._lock:
            now_ns = self._clock_ns()
            stage = self._stages.setdefault(name, _Stage(now_ns - self._origin_ns))
            if not stage.inside:
                stage.since_ns = now_ns
            stage.inside += 1

    def _leave(self, name: str) -> None:
        with self._lock:
            stage = self._stages[name]
            stage.inside -= 1
            if not stage.inside:
                stage.elapsed_ns += self._clock_ns() - stage.since_ns


class Marks:
    """When each moment of a request was reached: one row per request, time since the moment before.

    A row starts at `received` and is kept when the next one does, if its request reached inference.
    A moment that comes again, as in a stream, adds to its time.
    """

    def __init__(self) -> None:
        self._last_ns = 0
        self._row: dict[str, int] = {}
        self._rows: list[dict[str, int]] = []

    def __call__(self, moment: str) -> None:
        now = perf_counter_ns()
        if moment == "received":
            if "inferred" in self._row:
                self._rows.append(self._row)
            self._row = {}
        else:
            self._row[moment] = self._row.get(moment, 0) + now - self._last_ns
        self._last_ns = now

    def take(self) -> dict[str, list[int]]:
        """The rows so far, one list per moment in request order; they are then forgotten."""
        rows, self._rows = self._rows, []
        return {moment: [row[moment] for row in rows] for moment in (rows[0] if rows else ())}
