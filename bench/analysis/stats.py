"""Statistics: pure functions on numbers, each with the source of its formula.

An estimate that its sample is too small for has no value: `Estimate.value` is None and `need` says
how many values it would have taken. Outliers are flagged and never dropped.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

CONFIDENCE = 0.95
RESAMPLES = 10_000

# Phi^-1(3/4): what makes the median absolute deviation of a normal sample its standard deviation.
NORMAL_QUARTILE = 0.6744897501960817

# Resamples held in memory at once: 500 of 12 boots x 50 blocks are 2.4 MB.
CHUNK = 500

Floats = NDArray[np.float64]
Levels = Sequence[Sequence[Sequence[float]]]


@dataclass(frozen=True, slots=True)
class Estimate:
    """A value with its two-sided interval; all three None where n < need."""

    value: float | None
    low: float | None
    high: float | None
    n: int
    need: int


def quantile(values: ArrayLike, p: float) -> float:
    """Sample quantile, definition 7 of Hyndman and Fan (1996): linear between order statistics."""
    return float(np.quantile(np.asarray(values, dtype=np.float64), p, method="linear"))


def binomial_cdf(n: int, p: float) -> Floats:
    """P(B <= k) for k = 0..n, B ~ Binomial(n, p), 0 < p < 1; shape (n + 1,)."""
    k = np.arange(n + 1)
    log_factorial = np.concatenate(([0.0], np.cumsum(np.log(np.arange(1, n + 1)))))
    log_choose = log_factorial[n] - log_factorial[k] - log_factorial[n - k]
    log_mass = log_choose + k * math.log(p) + (n - k) * math.log1p(-p)
    total: Floats = np.minimum(np.cumsum(np.exp(log_mass)), 1.0)
    return total


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
    below = binomial_cdf(n, p)
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


def median_of_medians(groups: Sequence[ArrayLike]) -> float:
    """Median of the groups' medians: the specification's aggregate of repetitions (seed 5.1)."""
    return quantile([quantile(group, 0.5) for group in groups], 0.5)


def hierarchical_median(
    levels: Levels,
    rng: np.random.Generator,
    *,
    resamples: int = RESAMPLES,
    confidence: float = CONFIDENCE,
) -> Estimate:
    """Median of all values with a percentile interval from a hierarchical bootstrap.

    levels[repetition][boot][block] are the values, ragged where need be. Each resample draws
    repetitions, then boots within each, then blocks within each, all with replacement (Davison and
    Hinkley, Bootstrap Methods (1997), 3.8; Kalibera and Jones, ISMM 2013, for the levels).
    With few repetitions the outermost level knows little: in simulated runs of three, 95 %
    intervals held the truth 99 times in 100 where only blocks differ, 96 times where boots do as
    well, and 75 times where repetitions differ more than all else. No method repairs that.
    """
    boots = [np.asarray(boot, dtype=np.float64) for repetition in levels for boot in repetition]
    n, need = sum(len(boot) for boot in boots), minimum_count(0.5, confidence)
    if n < need:
        return Estimate(None, None, None, n, need)
    medians = _resampled_medians(levels, rng, resamples)
    tail = (1 - confidence) / 2
    low, high = (float(edge) for edge in np.quantile(medians, [tail, 1 - tail]))
    return Estimate(quantile(np.concatenate(boots), 0.5), low, high, n, need)


def _resampled_medians(levels: Levels, rng: np.random.Generator, resamples: int) -> Floats:
    """Medians of `resamples` hierarchical resamples, shape (resamples,)."""
    tree = [[boot for boot in repetition if len(boot)] for repetition in levels]
    tree = [repetition for repetition in tree if repetition]
    boots = [boot for repetition in tree for boot in repetition]
    blocks = np.array([len(boot) for boot in boots])
    sizes = np.array([len(repetition) for repetition in tree])
    starts = np.cumsum(sizes) - sizes
    values = np.zeros((len(boots), blocks.max()))
    for row, boot in zip(values, boots, strict=True):
        row[: len(boot)] = boot
    medians = []
    for done in range(0, resamples, CHUNK):
        count = min(CHUNK, resamples - done)
        repetition = rng.integers(len(tree), size=(count, len(tree), 1))
        within = sizes[repetition]  # (count, repetitions, 1)
        place = np.arange(sizes.max())
        boot = starts[repetition] + _draw(rng, within, (count, len(tree), sizes.max()))
        length = np.where(place < within, blocks[boot], 0)[..., None]
        block = _draw(rng, length, (*boot.shape, blocks.max()))
        drawn = values[boot[..., None], block]
        drawn[np.arange(blocks.max()) >= length] = np.inf
        medians.append(_row_medians(drawn.reshape(count, -1), length.reshape(count, -1).sum(1)))
    return np.concatenate(medians)


def _draw(
    rng: np.random.Generator, limits: NDArray[np.intp], shape: tuple[int, ...]
) -> NDArray[np.intp]:
    """Uniform integers in [0, limit), limits broadcast over `shape`; 0 where the limit is 0."""
    drawn: NDArray[np.intp] = (rng.random(shape) * limits).astype(np.intp)
    return drawn


def _row_medians(rows: Floats, counts: NDArray[np.intp]) -> Floats:
    """Median of the first counts[i] values of each row once sorted; the rest of a row is inf."""
    rows.sort(axis=1)
    index = np.arange(len(rows))
    medians: Floats = (rows[index, (counts - 1) // 2] + rows[index, counts // 2]) / 2
    return medians


def smallest_detectable(null: Estimate) -> float | None:
    """Largest distance from 1 inside the A/A interval: a smaller effect looks like no effect."""
    if null.low is None or null.high is None:
        return None
    return max(abs(null.low - 1), abs(null.high - 1))


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


def residuals(wholes: ArrayLike, stages: ArrayLike) -> Floats:
    """What a waterfall leaves unexplained: whole minus the sum of its stages, boot by boot.

    wholes (boots,), stages (boots, stages), one unit. Negative where stages overlap.
    """
    # C: the last digit of a sum must not depend on how a caller lays its numbers out.
    whole, parts = np.asarray(wholes), np.asarray(stages, dtype=np.float64, order="C")
    rest: Floats = whole - parts.sum(axis=1)
    return rest
