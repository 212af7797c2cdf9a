"""Planning: what a ratio's spread is made of, and how many boots an interval of some width takes.

    python -m bench.analysis.planning results/summary

prints, for every ratio of a summary, the width of its interval and what was needed for WIDTH.
"""

from __future__ import annotations

import math
import sys
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from scipy import special

from bench.analysis import sheets, stats
from bench.analysis.stats import Levels

# Two percentage points: the width that the ratio of the longest input is to have.
WIDTH = 0.02

MOST_BOOTS = 100


@dataclass(frozen=True, slots=True)
class Spread:
    """Standard deviations of a ratio: of one block, of boots' true values, of repetitions'.

    `blocks` is the median number of blocks in a boot. Block spread is that of a normal sample with
    the same interquartile range, so a straggler does not count.
    """

    block: float
    boot: float
    repetition: float
    repetitions: int
    boots: float
    blocks: float

    def width(self, boots: float, blocks: float) -> float:
        """The width to expect of `stats.nested_median` with so many boots in each repetition.

        Of runs whose repetitions do not differ a third look as if they did; those come out wider.
        """
        median = _median_variance(self.block, blocks)
        units = self.repetitions if self.repetition else self.repetitions * boots
        own = self.repetition**2 * boots + self.boot**2 + median
        error = math.sqrt(own / (self.repetitions * boots))
        return 2 * error * float(special.stdtrit(units - 1, (1 + stats.CONFIDENCE) / 2))

    def boots_needed(self, width: float = WIDTH) -> int | None:
        """Fewest boots a repetition whose interval should be that narrow; None where none is."""
        fewest = math.ceil(stats.MINIMUM_BOOTS / self.repetitions)
        counts = range(max(fewest, 1), MOST_BOOTS + 1)
        return next((n for n in counts if self.width(n, self.blocks) <= width), None)


def spread(levels: Levels) -> Spread | None:
    """What a ratio's spread is made of, by analysis of variance; None below MINIMUM_BOOTS boots.

    levels[repetition][boot] are the ratios of blocks. What is explained from below (boots by
    blocks, repetitions by boots) is taken off (Searle and others, Variance Components (1992), 3.5).
    """
    groups = [[np.asarray(boot) for boot in group if len(boot)] for group in levels]
    groups = [group for group in groups if group]
    boots = [boot for group in groups for boot in group]
    if len(boots) < stats.MINIMUM_BOOTS:
        return None
    ranges = [np.subtract(*np.quantile(boot, [0.75, 0.25])) for boot in boots]
    block = float(np.median(ranges)) / (2 * stats.NORMAL_QUARTILE)
    blocks, each = float(np.median([len(boot) for boot in boots])), len(boots) / len(groups)
    medians = [np.array([np.median(boot) for boot in group]) for group in groups]
    between = 0.0
    within = float(np.var(np.concatenate(medians), ddof=1))
    if stats.repetitions_differ(medians):
        squares = sum(float(np.sum((found - np.mean(found)) ** 2)) for found in medians)
        within = squares / (len(boots) - len(groups))
        between = float(np.var([np.mean(found) for found in medians], ddof=1)) - within / each
    boot = max(within - _median_variance(block, blocks), 0)
    return Spread(block, math.sqrt(boot), math.sqrt(max(between, 0)), len(groups), each, blocks)


def _median_variance(spread: float, n: float) -> float:
    """Variance of the median of n normal values."""
    return math.pi / 2 * spread**2 / n


def main(folder: Path) -> None:
    """One line a ratio, headline metrics first as the summary has them."""
    for row in sheets.read(folder, "overhead").query("status == 'ok'").to_dict("records"):
        pair = f"{row['numerator']}/{row['denominator']}"
        print(
            f"{row['model']} {row['metric']} {row['at'] or '-'} {pair}: "
            f"{100 * (row['high'] - row['low']):.2f} points wide with {row['boots']} boots and "
            f"{row['blocks']} blocks; for {100 * WIDTH:g} points "
            f"{row['boots_needed'] or f'more than {MOST_BOOTS}'} boots in each repetition"
        )


if __name__ == "__main__":
    main(Path(sys.argv[1]))
