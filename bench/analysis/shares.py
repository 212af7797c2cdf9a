"""Shares and totals of a fixed set of texts, with intervals: pure functions, each with its source.

The unit is the text. Boots repeat texts and add none, so a sample has as many values as texts.
Where it is too small for an interval `low` and `high` are None.
"""

from __future__ import annotations

import math

import numpy as np
from numpy.typing import ArrayLike
from scipy import special

from bench.analysis.stats import CONFIDENCE, Estimate

MINIMUM_TEXTS = 6  # fewer have a t quantile, and a deviation that nobody should believe


def share(right: float, n: int, confidence: float = CONFIDENCE) -> Estimate:
    """`right` of n, with the score interval (Wilson 1927; Brown, Cai and DasGupta 2001).

    `right` is a mean over boots where these differ, hence no integer in general.
    """
    if n < 1:
        return Estimate(None, None, None, n, 1)
    z2 = float(special.ndtri((1 + confidence) / 2)) ** 2
    p = right / n
    centre = (p + z2 / (2 * n)) / (1 + z2 / n)
    reach = math.sqrt(z2 * p * (1 - p) / n + z2**2 / (4 * n**2)) / (1 + z2 / n)
    # With none or all, one end is 0 or 1 exactly, which rounding would miss.
    low, high = (0.0 if right == 0 else centre - reach), (1.0 if right == n else centre + reach)
    return Estimate(p, low, high, n, 1)


def difference_of_shares(ours: ArrayLike, theirs: ArrayLike) -> Estimate:
    """Share of ours less theirs, of the same texts, each 0 or 1: (n,) and (n,).

    Interval of Agresti and Min (2005): Wald's, with half a text more in each cell of the table.
    """
    gained = np.asarray(ours, float) - np.asarray(theirs, float)
    n = len(gained)
    if n < 1:
        return Estimate(None, None, None, n, 1)
    only_ours, only_theirs = (gained > 0).sum() + 0.5, (gained < 0).sum() + 0.5
    total = n + 2
    centre = (only_ours - only_theirs) / total
    spread = only_ours + only_theirs - (only_ours - only_theirs) ** 2 / total
    reach = float(special.ndtri((1 + CONFIDENCE) / 2)) * math.sqrt(spread) / total
    return Estimate(float(gained.mean()), float(centre - reach), float(centre + reach), n, 1)


def ratio_of_totals(tops: ArrayLike, bottoms: ArrayLike) -> Estimate:
    """Sum of `tops` over sum of `bottoms`, text by text, (n,) and (n,); n below 6 has no interval.

    The ratio estimator with its linearised variance (Cochran, Sampling Techniques, 1977, 6.4) and a
    t quantile of n - 1 degrees. With `bottoms` of 1 it is the mean with its t interval.
    """
    top, bottom = np.asarray(tops, float), np.asarray(bottoms, float)
    n = len(top)
    if n < 1:
        return Estimate(None, None, None, n, 1)
    ratio = float(top.sum() / bottom.sum())
    if n < MINIMUM_TEXTS:
        return Estimate(ratio, None, None, n, MINIMUM_TEXTS)
    variance = float(((top - ratio * bottom) ** 2).sum() / (n * (n - 1)) / bottom.mean() ** 2)
    reach = float(special.stdtrit(n - 1, (1 + CONFIDENCE) / 2)) * math.sqrt(variance)
    return Estimate(ratio, ratio - reach, ratio + reach, n, MINIMUM_TEXTS)


def least_share(n: int) -> float:
    """The smallest share of alike units that n of n alike ones leave at 95 %, one-sided.

    Clopper and Pearson (1934), at the edge: what has probability 0.05 ** (1 / n) or less of being
    alike would have shown a unit that is not, 95 times in 100.
    """
    return float((1 - CONFIDENCE) ** (1 / n))
