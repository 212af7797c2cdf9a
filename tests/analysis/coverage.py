"""How often intervals hold the truth, by simulation: `python -m tests.analysis.coverage`.

Each experiment has the shape of a run: repetitions of boots of values. Ratios lie around 1.05 and
are skewed to the right as latencies are; latencies have a mean of 1, a heavy tail and neighbours
with something in common. Spreads are those of a run on two noisy cores. Writes COVERAGE.md; a test
holds smaller simulations against the same promise.
"""

from __future__ import annotations

import sys
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import numpy as np
from numpy.typing import NDArray
from scipy import signal

from bench.analysis import stats

PAGE = Path(__file__).parent / "COVERAGE.md"
EXPERIMENTS = 2000
TRUTH = 1.05
BLOCK = 0.05  # spread of one block's ratio
BOOT = 0.01  # spread of boots' true ratios, as large as ever seen in a run
WITHIN = 0.05  # spread of latencies within a boot, without the tail
PILOT = 0.03  # spread of boots' latencies in a run
ALIKE = 0.3  # correlation of neighbours, which makes two values worth one

HEAD = """\
# How often 95 % intervals hold the truth

Made by `python -m tests.analysis.coverage`: {experiments} simulated experiments a line, known to
about half a point. Between 93 and 97 % is sound; more is conservative, wider than it had to be.

## Ratios

The ratio of two sides around a known truth, blocks spread by {block:.0%} and skewed, boots by
{boot:.0%}. The interval is `bench.analysis.stats.nested_median`; the width is the median one, in
percentage points. `repetitions differ` is their spread in multiples of the boots'.

| repetitions | boots each | blocks each | boots differ | repetitions differ | held | width |
|---:|---:|---:|---:|---:|---:|---:|
"""

TAILS = """
## Quantiles of latencies

Latencies spread by {within:.0%} in a boot, with a heavy tail and neighbours of correlation {alike};
boots spread as given, in a run of two noisy cores by {pilot:.0%}. The truth is the quantile over
all boots there could be. The interval is `bench.analysis.stats.clustered_quantile`; widths in per
cent of the latency. `without boots` is what order statistics hold that know nothing of boots.

| repetitions | boots each | values each | boots differ, % | repetitions differ | quantile \
| refused | held | width | without boots |
|---:|---:|---:|---:|---:|:---|---:|---:|---:|---:|
"""

FOOT = """
With boots as different as in the pilot, intervals of the default shape (3 x 4) are sound, those of
medians a little conservative. Where nothing differs all are conservative, since a third of such
runs look as if repetitions did. Too few hold the truth for a p95 where repetitions differ as much
as boots, and where boots differ more than the requests in them: {limit:g} times as much is where
tails are refused, and close to that limit those that are printed are too narrow.
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """A run: how much of everything, and how much boots and repetitions differ."""

    repetitions: int = 3
    boots: int = 4
    blocks: int = 50
    boot: float = BOOT
    repetition: float = 0.0  # in multiples of the boots' spread


SHAPES = (
    Shape(boot=0.0),
    *(Shape(repetition=spread) for spread in (0.0, 0.5, 1.0, 2.0, 4.0)),
    Shape(boots=2),
    Shape(boots=2, repetition=1.0),
    Shape(boots=8),
    Shape(boots=8, repetition=1.0),
    Shape(repetitions=1),
    Shape(repetitions=5),
    Shape(repetitions=5, repetition=1.0),
)

SECURITY = {"boots": 2, "blocks": 62}
LATENCIES = (
    *((Shape(blocks=100, boot=0.0), p) for p in (0.5, 0.95, 0.99)),
    *((Shape(blocks=100, boot=PILOT), p) for p in (0.5, 0.95, 0.99)),
    *((Shape(blocks=100, boot=PILOT, repetition=1.0), p) for p in (0.5, 0.95, 0.99)),
    *((Shape(blocks=100, boot=2 * PILOT), p) for p in (0.5, 0.95, 0.99)),
    *((Shape(**SECURITY, boot=PILOT), p) for p in (0.5, 0.95, 0.99)),
    (Shape(blocks=1, boot=PILOT), 0.5),
    (Shape(blocks=2, boot=PILOT), 0.5),
)


def experiment(shape: Shape, rng: np.random.Generator) -> list[list[NDArray[np.float64]]]:
    """One run's ratios; the median of the skewed noise is 0."""
    levels = []
    for _ in range(shape.repetitions):
        apart = rng.normal(0, shape.repetition * BOOT)
        centres = TRUTH + apart + rng.normal(0, shape.boot, shape.boots)
        noise = rng.lognormal(0, 0.5, (shape.boots, shape.blocks)) - 1
        levels.append(list(centres[:, None] + BLOCK / 0.6 * noise))
    return levels


def held(shape: Shape, experiments: int, seed: int) -> tuple[float, float]:
    """Share of experiments whose interval holds the truth, and the intervals' median width."""
    rng = np.random.default_rng(seed)
    found = [stats.nested_median(experiment(shape, rng)) for _ in range(experiments)]
    inside = [estimate.low <= TRUTH <= estimate.high for estimate in found]
    widths = [estimate.high - estimate.low for estimate in found]
    return float(np.mean(inside)), float(np.median(widths))


def latencies(shape: Shape, rng: np.random.Generator) -> NDArray[np.float64]:
    """One run's latencies (repetitions, boots, values)."""
    size = shape.repetitions, shape.boots, shape.blocks
    settled = 20
    noise = rng.normal(size=(*size[:2], size[2] + settled))
    alike = signal.lfilter([np.sqrt(1 - ALIKE**2)], [1, -ALIKE], noise)[:, :, settled:]
    apart = rng.normal(0, shape.boot, (*size[:2], 1))
    apart = apart + rng.normal(0, shape.repetition * shape.boot, (size[0], 1, 1))
    return 1 + apart + WITHIN * tailed(alike)


def tailed(normal: NDArray[np.float64]) -> NDArray[np.float64]:
    """Normal values with a right tail that grows exponentially beyond 1.6."""
    beyond = np.maximum(normal - 1.6, 0)
    return normal + np.expm1(1.2 * beyond)


@cache
def quantile(shape: Shape, p: float) -> float:
    """The true quantile over all boots and repetitions there could be, from four million values."""
    rng = np.random.default_rng(0)
    spread = shape.boot * np.hypot(1, shape.repetition)
    values = WITHIN * tailed(rng.normal(size=4_000_000)) + rng.normal(0, 1, 4_000_000) * spread
    return float(1 + np.quantile(values, p))


@dataclass(frozen=True, slots=True)
class Tail:
    """What became of a quantile's intervals: shares, and the median width."""

    refused: float
    held: float
    width: float
    independent: float


def tail(shape: Shape, p: float, experiments: int, seed: int) -> Tail:
    rng, truth = np.random.default_rng(seed), quantile(shape, p)
    told, naive = [], []
    for _ in range(experiments):
        values = latencies(shape, rng)
        found = stats.clustered_quantile(values.tolist(), p)
        simple = stats.estimate_quantile(values.ravel(), p)
        naive.append(simple.low <= truth <= simple.high)
        if found.value is not None:
            told.append((found.low <= truth <= found.high, found.high - found.low))
    inside, widths = zip(*told, strict=True)
    share = 1 - len(told) / experiments
    return Tail(share, float(np.mean(inside)), float(np.median(widths)), float(np.mean(naive)))


def page(experiments: int) -> str:
    lines = [HEAD.format(experiments=experiments, block=BLOCK, boot=BOOT)]
    for number, shape in enumerate(SHAPES):
        share, width = held(shape, experiments, seed=number)
        differs = "yes" if shape.boot else "no"
        lines.append(
            f"| {shape.repetitions} | {shape.boots} | {shape.blocks} | {differs} "
            f"| {shape.repetition:g} | {share:.1%} | {100 * width:.2f} |\n"
        )
    lines.append(TAILS.format(within=WITHIN, alike=ALIKE, pilot=PILOT))
    for number, (shape, p) in enumerate(LATENCIES):
        found = tail(shape, p, experiments, seed=number)
        lines.append(
            f"| {shape.repetitions} | {shape.boots} | {shape.blocks} | {100 * shape.boot:g} "
            f"| {shape.repetition:g} | p{100 * p:g} | {found.refused:.1%} | {found.held:.1%} "
            f"| {100 * found.width:.2f} | {found.independent:.1%} |\n"
        )
    return "".join([*lines, FOOT.format(limit=stats.PREVAILING)])


if __name__ == "__main__":
    PAGE.write_text(page(EXPERIMENTS))
    sys.stdout.write(PAGE.read_text())
