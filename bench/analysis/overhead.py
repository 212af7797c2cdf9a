"""Overheads: what one side takes in multiples of another, block by block on the same host.

Within a block every side stands at two mirrored positions, so a host that drifts hurts all sides
alike; the ratio is formed inside the block, before anything is pooled.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

import pandas as pd

from bench.analysis import stats

HEADLINE = ("enclave", "plain")
NULL = ("null", "plain")

# The sides that serve the model; `tcp` only echoes, so a ledger of threads and digests has
# nothing to say about it.
LEDGER = ("plain", "bare", "enclave", "null")


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


def block_ratios(samples: pd.DataFrame, numerator: str, denominator: str) -> Blocks:
    """numerator / denominator per block: of the two positions' means, of longer cells' medians.

    samples: repetition, boot, block, side, value. A block counts only where both sides have
    equally many values in it: a mirrored block that lost a position is no longer balanced against
    drift. A side that is no part of the host's interleaving (one value per boot, block 0) is
    paired by boot.
    """
    top, bottom = (
        samples[samples["side"] == side].groupby(["repetition", "boot", "block"])["value"]
        for side in (numerator, denominator)
    )
    centre = bottom.median().where(lambda median: median > 0)
    ratios = (top.median() / centre).where(top.count() - bottom.count() == 0)
    levels = tuple(
        tuple(tuple(boot) for _, boot in repetition.groupby("boot"))
        for _, repetition in ratios.dropna().groupby("repetition")
    )
    return Blocks(levels, incomplete=int(ratios.isna().sum()))


def ratio_of_medians(samples: pd.DataFrame, numerator: str, denominator: str) -> float | None:
    """Ratio of the sides' medians of repetition medians: the specification's reading (5.1)."""
    medians = {
        side: stats.median_of_medians(
            [values for _, values in found.groupby("repetition")["value"]]
        )
        for side, found in samples.groupby("side")
    }
    top, bottom = medians.get(numerator), medians.get(denominator, 0.0)
    return top / bottom if top is not None and bottom > 0 else None


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
