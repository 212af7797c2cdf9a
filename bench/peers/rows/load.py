"""Opening sealed weights / reading the same number of plaintext bytes, both into fresh memory."""

from __future__ import annotations

from collections.abc import Iterator

from bench.peers.rows import Stand
from bench.records import Observation

METRICS = ("load",)
BLOCKS = 8  # at most so many in each boot: a block moves gigabytes


def engine(side: str) -> str:
    """One process a side."""
    return "loader"


def run(stand: Stand) -> Iterator[Observation]:
    """Milliseconds; axis `megabytes` (10^6)."""
    points = stand.points()
    for block in range(-stand.warmup, min(stand.blocks, BLOCKS)):
        stand.progress(f"block {max(block + 1, 0)}/{min(stand.blocks, BLOCKS)}")
        for at in stand.random.sample(list(points), len(points)):
            for position, name in enumerate(stand.mirrored(points[at])):
                answer = stand.workers[name].ask(**dict(at))
                iteration = 2 * (block + stand.warmup) + int(position >= len(points[at]))
                value = answer["load_ns"] / 1e6
                yield Observation("load", name, stand.boot, block, iteration, value, block < 0, at)
