"""How often intervals hold the truth, by simulation: `python -m tests.analysis.coverage`.

Each experiment has the shape of a run: repetitions of boots of blocks, ratios around 1.05 that are
skewed to the right as latencies are. Block noise is that of a run on two noisy cores. Writes
COVERAGE.md; a test holds a smaller simulation against the same promise.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from bench.analysis import stats

PAGE = Path(__file__).parent / "COVERAGE.md"
EXPERIMENTS = 2000
TRUTH = 1.05
BLOCK = 0.05  # spread of one block's ratio
BOOT = 0.01  # spread of boots' true ratios, as large as ever seen in a run

HEAD = """\
# How often 95 % intervals hold the truth

Made by `python -m tests.analysis.coverage`: {experiments} simulated experiments a line, the ratio
of two sides around a known truth, blocks spread by {block:.0%} and skewed, boots by {boot:.0%}. The
interval is `bench.analysis.stats.nested_median`; the width is the median one, in percentage points.
`repetitions differ` is their spread in multiples of the boots'.

| repetitions | boots each | blocks each | boots differ | repetitions differ | held | width |
|---:|---:|---:|---:|---:|---:|---:|
"""


@dataclass(frozen=True, slots=True)
class Shape:
    """A run: how much of everything, and how much boots and repetitions differ."""

    repetitions: int = 3
    boots: int = 4
    blocks: int = 50
    boot: float = BOOT
    repetition: float = 0.0  # in multiples of BOOT


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


def experiment(shape: Shape, rng: np.random.Generator) -> list[list[np.ndarray]]:
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


def page(experiments: int) -> str:
    lines = [HEAD.format(experiments=experiments, block=BLOCK, boot=BOOT)]
    for number, shape in enumerate(SHAPES):
        share, width = held(shape, experiments, seed=number)
        differs = "yes" if shape.boot else "no"
        lines.append(
            f"| {shape.repetitions} | {shape.boots} | {shape.blocks} | {differs} "
            f"| {shape.repetition:g} | {share:.1%} | {100 * width:.2f} |\n"
        )
    return "".join(lines)


if __name__ == "__main__":
    PAGE.write_text(page(EXPERIMENTS))
    print(PAGE.read_text())
