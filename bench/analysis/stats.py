"""Statistics: pure functions on numbers, each with the source of its formula.

An estimate that its sample is too small for has no value: `Estimate.value` is None and `need` says
how many values it would have taken. Outliers are flagged and never dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy import special

CONFIDENCE = 0.95

# Fewer boots have an interval that says nothing: with two, t is 12.7.
MINIMUM_BOOTS = 3

# Chosen by simulation (tests/analysis/COVERAGE.md): 0.5 makes intervals of alike repetitions wide,
# 0.75 those of repetitions that differ about as much as boots too narrow.
POOLED = 0.6

# Where boots' medians are spread by more than this multiple of the values within a boot, a tail of
# all values is made by a boot or two, and its interval would hold it in too few of 100 cases.
PREVAILING = 1.5

# Phi^-1(3/4): what makes the median absolute deviation of a normal sample its standard deviation.
NORMAL_QUARTILE = 0.6744897501960817

Floats = NDArray[np.float64]
Levels = Sequence[Sequence[Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its two-sided interval; all three None where n < need.

    What was too few: `counted` names it, "n" for values.
    """

    value: float | None
    low: float | None
    high: float | None
    n: int
    need: int
    counted: str = "n"


def quantile(values: ArrayLike, p: float) -> float:
    """Sample quantile, definition 7 of Hyndman and Fan (1996): linear between order statistics."""
    return float(np.quantile(np.asarray(values, dtype=np.float64), p, method="linear"))


def minimum_count(p: float, confidence: float = CONFIDENCE) -> int:
    """Smallest n with an equal-tailed order-statistic interval for the p-quantile.

    The widest interval there is, [min, max], misses on one side with probability P(B = n) = p^n
    and on the other with P(B = 0) = (1 - p)^n; both must be at most (1 - confidence) / 2.
    At 95 %: 6 for the median, 72 for p95, 368 for p99.
    """
    tail = (1 - confidence) / 2
    return math.ceil(math.log(tail) / math.log(max(p, 1 - p)))


def interval_ranks(n: int, p: float, confidence: float = CONFIDENCE) -> tuple[int, int] | None:
    """1-based ranks (l, u) with P(X(l) <= q <= X(u)) >= confidence, or None where n is too small.

    David and Nagaraja, Order Statistics (2003), 7.1: the number of values below the p-quantile is
    Binomial(n, p), whatever the distribution. Values are taken as independent.
    """
    if n < minimum_count(p, confidence):
        return None
    tail = (1 - confidence) / 2
    below = special.bdtr(np.arange(n + 1), n, p)  # P(B <= k), k = 0..n
    # X(l) exceeds the quantile when at most l - 1 values lie below it.
    low = int(np.searchsorted(below, tail, side="right"))
    # X(u) falls short of it when at least u do: P(B >= u) = 1 - P(B <= u - 1).
    high = int(np.argmax(1 - below <= tail)) + 1
    return low, high


def estimate_quantile(values: ArrayLike, p: float, confidence: float = CONFIDENCE) -> Estimate:
    """The p-quantile with its order-statistic interval, or no value where n is too small."""
    ordered = np.sort(np.asarray(values, dtype=np.float64))
    n, need = len(ordered), minimum_count(p, confidence)
    ranks = interval_ranks(n, p, confidence)
    if ranks is None:
        return Estimate(None, None, None, n, need)
    low, high = float(ordered[ranks[0] - 1]), float(ordered[ranks[1] - 1])
    return Estimate(quantile(ordered, p), low, high, n, need)


def clustered_quantile(levels: Levels, p: float, confidence: float = CONFIDENCE) -> Estimate:
    """The p-quantile of all values, with an interval that knows that boots differ.

    levels[repetition][boot] are the values. A median is the mean over boots of the boots' medians
    (`nested_median`), wherever every boot holds enough values for a median of its own. Any other
    quantile is that of all values, with the interval of as many independent values as these are
    worth (`effective_count`). Refused are fewer values than that takes at best, fewer than
    MINIMUM_BOOTS boots, and tails where boots differ by more than the values in them (PREVAILING):
    then boots are the values, and there are never enough. Coverage: tests/analysis/COVERAGE.md.
    """
    boots = [boot for repetition in levels for boot in repetition if len(boot)]
    ordered = np.sort(np.concatenate([*boots, np.zeros(0)]))
    n, need = len(ordered), minimum_count(p, confidence)
    if n < need:
        return Estimate(None, None, None, n, need)
    if len(boots) < MINIMUM_BOOTS:
        return Estimate(None, None, None, len(boots), MINIMUM_BOOTS, "boots")
    if p == 0.5 and min(map(len, boots)) >= need:
        return replace(nested_median(levels, confidence), n=n, need=need)
    if len(boots) < need and p != 0.5 and _prevailing(boots) > PREVAILING:
        return Estimate(None, None, None, len(boots), need, "boots")
    low, high = np.quantile(ordered, _shares(effective_count(levels, p, confidence), p, confidence))
    return Estimate(quantile(ordered, p), float(low), float(high), n, need)


def _shares(n: float, p: float, confidence: float) -> tuple[float, float]:
    """Shares of a distribution that n independent values, of which n p are below, could stem from.

    Clopper and Pearson (1934), as beta quantiles, which n and n p need not be whole for. Where the
    share lies is where the quantile lies: Woodruff (1952).
    """
    tail, below, above = (1 - confidence) / 2, n * p, n * (1 - p)
    low = float(special.betaincinv(below, above + 1, tail))
    return low, float(special.betaincinv(below + 1, above, 1 - tail))


def effective_count(levels: Levels, p: float, confidence: float = CONFIDENCE) -> float:
    """How many independent values would know the p-quantile as well as these values of boots do.

    Korn and Graubard, Survey Methodology 24 (1998): p (1 - p) over the variance, between clusters,
    of the share of values up to the quantile; shrunk by the square of t's ratio, since that
    variance is known from few clusters only; never more than there are values. Boots are the
    clusters, so what makes neighbouring values alike counts too; repetitions are, where they
    differ by more than their boots explain (as in `nested_median`).
    """
    groups = [[np.asarray(boot) for boot in repetition if len(boot)] for repetition in levels]
    centre = quantile(np.concatenate([boot for group in groups for boot in group]), p)
    excess = [
        np.array([np.sum(boot <= centre) - p * len(boot) for boot in group], np.float64)
        for group in groups
        if group
    ]
    n, units = sum(len(boot) for group in groups for boot in group), np.concatenate(excess)
    if repetitions_differ(excess):
        units = np.array([np.sum(group) for group in excess])
    variance = len(units) * float(np.var(units, ddof=1)) / n**2
    if variance == 0:
        return n
    reach = (1 + confidence) / 2
    known = special.stdtrit(n - 1, reach) / special.stdtrit(len(units) - 1, reach)
    return float(min(p * (1 - p) / variance * known**2, n))


def _prevailing(boots: Sequence[Sequence[float]]) -> float:
    """Spread of the boots' medians in multiples of the spread within boots.

    That within a boot is told by its interquartile range, which stragglers do not widen.
    """
    between = float(np.std([np.median(boot) for boot in boots], ddof=1))
    ranges = [np.subtract(*np.quantile(boot, [0.75, 0.25])) for boot in boots]
    within = float(np.median(ranges)) / (2 * NORMAL_QUARTILE)
    return between / within if within > 0 else 0.0 if between == 0 else math.inf


def median_of_medians(groups: Sequence[ArrayLike]) -> float:
    """Median of the groups' medians: the specification's aggregate of repetitions (seed 5.1)."""
    return quantile([quantile(group, 0.5) for group in groups], 0.5)


def nested_median(levels: Levels, confidence: float = CONFIDENCE) -> Estimate:
    """Mean over all boots of their medians, with a t interval; `n` counts boots.

    levels[repetition][boot][block] are the values, ragged where need be. What a boot is given once
    (addresses, placement) makes its values alike, so boots are the units, not values; where
    repetitions differ by more than their boots explain, repetitions are (Kalibera and Jones, ISMM
    2013). That is decided by the ratio of the two mean squares (Searle and others, Variance
    Components (1992), 3.6) against the POOLED quantile of its distribution without such a
    difference. How often the interval then holds the truth: tests/analysis/COVERAGE.md.
    """
    groups = [[np.median(boot) for boot in repetition if len(boot)] for repetition in levels]
    repetitions = [np.asarray(boots) for boots in groups if boots]
    boots = np.concatenate([*repetitions, np.zeros(0)])
    if len(boots) < MINIMUM_BOOTS:
        return Estimate(None, None, None, len(boots), MINIMUM_BOOTS, "boots")
    units = boots
    if repetitions_differ(repetitions):
        units = np.array([np.mean(repetition) for repetition in repetitions])
    centre = float(np.mean(units))
    error = float(np.std(units, ddof=1)) / math.sqrt(len(units))
    reach = error * float(special.stdtrit(len(units) - 1, (1 + confidence) / 2))
    return Estimate(centre, centre - reach, centre + reach, len(boots), MINIMUM_BOOTS)


def repetitions_differ(repetitions: Sequence[Floats]) -> bool:
    """Whether repetitions (of boots' values) lie further apart than most that boots alone make."""
    boots = np.concatenate(repetitions)
    between, within = len(repetitions) - 1, len(boots) - len(repetitions)
    if between < 1 or within < 1:
        return False
    squares = sum(float(np.sum((found - np.mean(found)) ** 2)) for found in repetitions)
    whole = float(np.sum((boots - np.mean(boots)) ** 2))
    limit = float(special.fdtri(between, within, POOLED))
    return (whole - squares) / between > limit * squares / within


def smallest_detectable(null: Estimate) -> float | None:
    """Largest distance from 1 inside the A/A interval: a smaller effect looks like no effect."""
    if null.low is None or null.high is None:
        return None
    return max(abs(null.low - 1), abs(null.high - 1))


def widened(found: Estimate, by: Estimate) -> Estimate:
    """An interval of a ratio, wider by as much as that of an A/A ratio misses 1.

    Where two identical sides differ by more than chance, whatever made them differ is in every
    other ratio of the same blocks as well.
    """
    if found.low is None or found.high is None or by.low is None or by.high is None:
        return found
    miss = max(by.low - 1, 1 - by.high, 0.0)
    return replace(found, low=found.low - miss, high=found.high + miss)


def mad_flags(values: ArrayLike, threshold: float = 3.5) -> NDArray[np.bool_]:
    """True where the modified Z-score exceeds the threshold (Iglewicz and Hoaglin 1993).

    0.6745 |x - median| / MAD > 3.5. Where more than half the values are equal the MAD is 0 and
    says nothing about spread: then nothing is flagged.
    """
    sample = np.asarray(values, dtype=np.float64)
    if not len(sample):
        return np.zeros(0, dtype=bool)
    distance = np.abs(sample - np.median(sample))
    deviation = float(np.median(distance))
    if deviation == 0:
        return np.zeros(len(sample), dtype=bool)
    flags: NDArray[np.bool_] = NORMAL_QUARTILE * distance / deviation > threshold
    return flags


def tukey_flags(values: ArrayLike, fences: float = 3.0) -> NDArray[np.bool_]:
    """True beyond the quartiles by more than 3 interquartile ranges ("far out": Tukey 1977)."""
    sample = np.asarray(values, dtype=np.float64)
    if not len(sample):
        return np.zeros(0, dtype=bool)
    lower, upper = np.quantile(sample, [0.25, 0.75])
    reach = fences * (upper - lower)
    flags: NDArray[np.bool_] = (sample < lower - reach) | (sample > upper + reach)
    return flags


def z_flags(values: ArrayLike, threshold: float = 3.0) -> NDArray[np.bool_]:
    """True where |x - mean| / standard deviation > 3: the specification's rule (seed 5.1).

    With the sample's own deviation |z| cannot exceed (n - 1) / sqrt(n) (Shiffler 1988): ten values
    or fewer can never be flagged.
    """
    sample = np.asarray(values, dtype=np.float64)
    deviation = float(np.std(sample, ddof=1)) if len(sample) > 1 else 0.0
    if deviation == 0:
        return np.zeros(len(sample), dtype=bool)
    flags: NDArray[np.bool_] = np.abs(sample - np.mean(sample)) / deviation > threshold
    return flags


def z_flag_probability(threshold: float = 3.0) -> float:
    """P(|Z| > threshold) for a normal Z: 0.27 % at 3 (the specification says 0.64 %)."""
    return math.erfc(threshold / math.sqrt(2))


def covered(begins: ArrayLike, lengths: ArrayLike) -> Floats:
    """How long at least one of several stages was under way: (boots, stages) each -> (boots,)."""
    start, length = np.asarray(begins, np.float64), np.asarray(lengths, np.float64)
    order = np.argsort(start, axis=1, kind="stable")
    start, length = (np.take_along_axis(values, order, axis=1) for values in (start, length))
    reached = np.maximum.accumulate(start + length, axis=1)
    before = np.concatenate([start[:, :1], reached[:, :-1]], axis=1)
    alone: Floats = np.maximum(start + length - np.maximum(start, before), 0).sum(axis=1)
    return alone


def residuals(wholes: ArrayLike, stages: ArrayLike) -> Floats:
    """What a waterfall leaves unexplained: whole minus the sum of its stages, boot by boot.

    wholes (boots,), stages (boots, stages), one unit. Negative where stages overlap.
    """
    # C: the last digit of a sum must not depend on how a caller lays its numbers out.
    whole, parts = np.asarray(wholes), np.asarray(stages, dtype=np.float64, order="C")
    rest: Floats = whole - parts.sum(axis=1)
    return rest
