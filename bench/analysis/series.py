"""Series: what the order of values tells, which their distribution does not.

A boot's values come one after another on a host that drifts, so neighbours are alike and a hundred
of them are worth fewer; and the first ones are slow. Both are told here, and change no estimate:
intervals take boots as their units.
"""

from __future__ import annotations

import math
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from scipy import stats as reference

from bench.analysis.stats import NORMAL_QUARTILE

# A change counts where it explains more than this many times ln(n) variances of the noise: Schwarz'
# criterion for two unknowns, where and how much. Of 100 series without a change two show one.
PENALTY = 2.0

# Fewer values in a row have no autocorrelation and no change worth telling.
SHORTEST = 12


def autocorrelation_time(values: Sequence[float]) -> float:
    """How many values in a row are worth one independent value: 1 or more.

    Of ranks, since one straggler would hide what its neighbours have in common. The sum over lags
    ends by the initial monotone sequence (Geyer, Statistical Science 7 (1992), 3.3).
    """
    centred = reference.rankdata(values) - (len(values) + 1) / 2
    if len(values) < SHORTEST or not centred.any():
        return 1.0
    lagged = np.correlate(centred, centred, "full")[len(values) - 1 :]
    lags = lagged[: len(lagged) // 2 * 2] / lagged[0]
    pairs = np.minimum.accumulate(lags[::2] + lags[1::2])
    return max(1.0, 2.0 * float(np.sum(pairs[pairs > 0])) - 1.0)


def effective_size(boots: Sequence[Sequence[float]]) -> float:
    """How many independent values the values of all boots, in order, are worth."""
    return sum(len(boot) / autocorrelation_time(boot) for boot in boots)


def slow_start(boots: Sequence[Sequence[float]]) -> int:
    """How many first values of a boot lie above those that follow, over all boots; 0 if none do.

    boots[boot] are a boot's values in order, warm-ups included. Each is divided by its boot's
    median, the curve of medians over boots is formed, and one change of its mean is looked for by
    least squares; it counts by PENALTY. A change in the second half is drift and not a start.
    """
    length = min(map(len, boots), default=0)
    if length < SHORTEST:
        return 0
    curve = np.median([np.asarray(boot[:length]) / np.median(boot) for boot in boots], axis=0)
    after = np.arange(1, length)
    means = np.cumsum(curve)[:-1] / after, np.cumsum(curve[::-1])[:-1][::-1] / (length - after)
    explained = after * (length - after) / length * (means[0] - means[1]) ** 2
    best = int(np.argmax(explained))
    counts = explained[best] > PENALTY * math.log(length) * _noise(curve) ** 2
    slower = means[0][best] > means[1][best] and after[best] <= length / 2
    return int(after[best]) if counts and slower else 0


def _noise(curve: NDArray[np.float64]) -> float:
    """Standard deviation of noise around a level that may change: from neighbours' differences."""
    return float(np.median(np.abs(np.diff(curve)))) / NORMAL_QUARTILE / math.sqrt(2)
