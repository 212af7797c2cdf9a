"""Overheads: what one side takes in multiples of another, block by block on the same host.

Within a block every side stands at two mirrored positions, so a host that drifts hurts all sides
alike; the ratio is formed inside the block, before anything is pooled.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np

from bench.analysis import stats

HEADLINE = ("enclave", "plain")
NULL = ("null", "plain")

# The sides that serve the model; `tcp` only echoes, so a ledger of threads and digests has
# nothing to say about it.
LEDGER = ("plain", "bare", "enclave", "null")


@dataclass(frozen=True, slots=True)
class Sample:
    """One value that counts (no warm-up), with the place it was measured at."""

    repetition: int
    boot: int
    block: int
    side: str
    value: float


@dataclass(frozen=True, slots=True)
class Blocks:
    """Ratios per repetition, boot and block, and how many blocks lacked a position."""

    levels: tuple[tuple[tuple[float, ...], ...], ...]
    incomplete: int

    @property
    def repetitions(self) -> int:
        return len(self.levels)

    @property
    def boots(self) -> int:
        return sum(len(repetition) for repetition in self.levels)

    @property
    def count(self) -> int:
        return sum(len(boot) for repetition in self.levels for boot in repetition)


def block_ratios(samples: Iterable[Sample], numerator: str, denominator: str) -> Blocks:
    """numerator / denominator per block: of the two positions' means, of longer cells' medians.

    A block counts only where both sides have equally many values in it: a mirrored block that
    lost a position is no longer balanced against drift. A side that is no part of the host's
    interleaving (one value per boot, block 0) is paired by boot.
    """
    cells: dict[tuple[int, int, int], dict[str, list[float]]] = defaultdict(dict)
    for sample in samples:
        if sample.side in (numerator, denominator):
            place = (sample.repetition, sample.boot, sample.block)
            cells[place].setdefault(sample.side, []).append(sample.value)
    tree: dict[int, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    incomplete = 0
    for (repetition, boot, _), sides in sorted(cells.items()):
        top, bottom = sides.get(numerator, []), sides.get(denominator, [])
        centre = float(np.median(bottom)) if bottom else 0.0
        if len(top) != len(bottom) or centre <= 0:
            incomplete += 1
            continue
        tree[repetition][boot].append(float(np.median(top)) / centre)
    levels = tuple(tuple(map(tuple, boots.values())) for boots in tree.values())
    return Blocks(levels, incomplete)


def ratio_of_medians(samples: Iterable[Sample], numerator: str, denominator: str) -> float | None:
    """Ratio of the sides' medians of repetition medians: the specification's reading (5.1)."""
    sides: dict[str, dict[int, list[float]]] = defaultdict(lambda: defaultdict(list))
    for sample in samples:
        sides[sample.side][sample.repetition].append(sample.value)
    if not sides[numerator] or not sides[denominator]:
        return None
    bottom = stats.median_of_medians(list(sides[denominator].values()))
    top = stats.median_of_medians(list(sides[numerator].values()))
    return top / bottom if bottom > 0 else None


def unlike(
    parity: Mapping[str, Mapping[str, object]], numerator: str, denominator: str
) -> str | None:
    """Why two sides may not be compared, or None: parity[field][side], every field of both.

    A ledger that is missing, or has no entry for a side, is no proof of parity.
    """
    if not {numerator, denominator} <= set(LEDGER):
        return None
    if not parity:
        return "the records hold no parity ledger"
    for field, sides in sorted(parity.items()):
        for side in (numerator, denominator):
            if side not in sides:
                return f"parity unknown: no {field} recorded for {side}"
        if sides[numerator] != sides[denominator]:
            found = f"{numerator} {sides[numerator]}, {denominator} {sides[denominator]}"
            return f"no parity: {field} differs ({found})"
    return None
