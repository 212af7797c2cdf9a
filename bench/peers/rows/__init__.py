"""Rows of the table of ratios: one module a family, each yields both sides in one run.

Contract: `METRICS` names what it may yield, `engine(side)` the worker that a side needs, if any,
`run(stand)` yields every value, warm-ups included and marked.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from bench.peers.pipe import Seat, Worker
from bench.records import Axes


@dataclass(frozen=True, slots=True)
class Asked:
    """One comparison to be measured: a metric at a point, and the two sides."""

    metric: str
    at: Axes
    sides: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Stand:
    """What a row measures on: one start of every engine. `source` is a model's folder."""

    boot: int
    blocks: int
    warmup: int
    asked: Sequence[Asked]
    workers: Mapping[str, Worker]
    seat: Seat
    source: Path
    text: Callable[[int], str]
    random: random.Random
    pause: Callable[[], None]
    progress: Callable[[str], None]

    def mirrored(self, names: Sequence[str]) -> list[str]:
        """The names in random order and back again: every side's mean position is the same."""
        order = self.random.sample(list(names), len(names))
        return [*order, *reversed(order)]

    def points(self, *metrics: str) -> dict[Axes, list[str]]:
        """Which sides have their turn at which point, each once; of all metrics, or of these."""
        points: dict[Axes, dict[str, None]] = {}
        for row in self.asked:
            if not metrics or row.metric in metrics:
                points.setdefault(row.at, {}).update(dict.fromkeys(row.sides))
        return {at: list(sides) for at, sides in points.items()}
