"""Growth: whether memory grew while sessions came and went, how fast, and how sure that is.

A line through the samples of every boot, with a slope that all share and a level of each its own.
Samples that follow one another are alike, so the residuals say how many independent ones they are
worth, and the interval is that of so many (Santer and others, J. Geophys. Res. 105 (2000), 7337).
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from scipy import special

from bench.analysis import facts, series
from bench.analysis.facts import Row, Subject
from bench.analysis.stats import CONFIDENCE, Estimate, Floats

METRIC, RSS, ELAPSED = "session_leak", "churn_rss", "churn_elapsed"
HOUR = 3600.0
# What the kernel's count of resident memory may be off by: up to 64 pages a thread are counted
# later (SPLIT_RSS_COUNTING; 4 KiB pages). No slope is known better than this over its time.
RESOLUTION_MIB = 0.25
# A residual's autocorrelation time comes out too short, since the fitted line took some of it: so
# much longer it is taken to be. Where a boot's samples are worth fewer than LEAST independent ones,
# nothing is assumed of them but their range R: in a time T that tilts a line by at most 1.5 R / T.
LONGER = 1.5
LEAST = 8
WORST = 1.5


@dataclass(frozen=True, slots=True)
class Watched:
    """One boot's samples: when, in s, and how much was resident, in MiB."""

    elapsed_s: Floats
    rss_mib: Floats

    @property
    def seconds(self) -> float:
        return float(np.ptp(self.elapsed_s))


def slope(boots: Sequence[Watched], confidence: float = CONFIDENCE) -> Estimate:
    """MiB per hour with its interval; `n` is samples, and `need` what they would have had to be."""
    times = [boot.elapsed_s - boot.elapsed_s.mean() for boot in boots]
    values = [boot.rss_mib - boot.rss_mib.mean() for boot in boots]
    n, spread = sum(map(len, times)), sum(float(t @ t) for t in times)
    need = LEAST * len(boots)
    if n < need or spread == 0:
        return Estimate(None, None, None, n, need)
    rate = sum(float(t @ v) for t, v in zip(times, values, strict=True)) / spread
    rests = [v - rate * t for t, v in zip(times, values, strict=True)]
    shortest = min(boot.seconds for boot in boots)
    worth = sum(map(_worth, rests))
    if worth < need:
        reach = WORST * max(float(np.ptp(r)) for r in rests) / shortest
    else:
        free = worth - len(boots) - 1
        error = math.sqrt(sum(float(r @ r) for r in rests) / free / spread)
        reach = error * float(special.stdtrit(free, (1 + confidence) / 2))
    reach += RESOLUTION_MIB / shortest
    low, high = rate - reach, rate + reach
    return Estimate(rate * HOUR, low * HOUR, high * HOUR, n, need)


def _worth(rests: Floats) -> float:
    """How many independent samples these are worth."""
    return len(rests) / (1 + LONGER * (series.autocorrelation_time(rests.tolist()) - 1))


def rows(subject: Subject, found: pd.DataFrame) -> Iterator[Row]:
    """The slope on every side, and for how long it was observed.

    found: metric, side, repetition, boot, block, value, warmup; blocks number the samples.
    """
    for side, boots in watched(found):
        estimate = slope(boots)
        row = subject.row() | {"side": side, "statistic": "slope", "value": estimate.value}
        row |= {"low": estimate.low, "high": estimate.high, "n": estimate.n, "need": estimate.need}
        row |= {"boots": len(boots), "status": facts.SMALL if estimate.value is None else facts.OK}
        yield row | {"detail": _told(boots, estimate)}


def watched(found: pd.DataFrame) -> Iterator[tuple[str, list[Watched]]]:
    """Every side's boots, their first samples (warm-up) left out."""
    counted = found[found["metric"].isin([RSS, ELAPSED]) & ~found["warmup"]]
    wide = counted.pivot_table(
        index=["side", "repetition", "boot", "block"], columns="metric", values="value"
    )
    if {RSS, ELAPSED} <= set(wide.columns):
        for side, own in wide.dropna().groupby("side"):
            boots = own.groupby(["repetition", "boot"])
            yield str(side), [Watched(b[ELAPSED].to_numpy(), b[RSS].to_numpy()) for _, b in boots]


def told(printed: pd.DataFrame) -> str:
    """What the intervals mean, side by side, in words."""
    said = (f"{row['side']}: {row['detail']}" for row in printed.to_dict("records"))
    text = "; ".join(filter(None, said))
    return f"{text[:1].upper()}{text[1:]}.\n"


def _told(boots: Sequence[Watched], found: Estimate) -> str:
    seconds = [boot.seconds for boot in boots]
    observed = f"observed for {min(seconds):,.0f} s in each of {len(boots)} boots"
    if found.value is None:
        return f"{observed}: {found.n} samples, too few"
    if found.low is not None and found.high is not None and found.low <= 0 <= found.high:
        return f"{observed}: no growth seen above {found.high:,.1f} MiB/h"
    return observed
