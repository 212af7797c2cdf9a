"""Facts: the rows of the summary's CSV files, one row for one printed fact.

Everything is a pure function from a `Cell`'s samples to rows of text and numbers. A number that
could not be had is None (an empty field) beside a status that says why; it is never 0. A sample is
a row of a frame: repetition, boot, block, side, value.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial

import numpy as np
import pandas as pd

from bench.analysis import overhead, planning, series, stats, verdict
from bench.analysis.sheets import NAMED
from bench.records import Axes

Row = dict[str, str | int | float | bool | None]

OK, SMALL, FAILED, ABSENT, UNLIKE = "ok", "not estimable", "failed", "not measured", "no parity"

QUANTILES = {"median": 0.5, "p50": 0.5, "p90": 0.9, "p95": 0.95, "p99": 0.99, "p99.9": 0.999}

EXACT: dict[str, Callable[[list[float]], float]] = {
    "max": max, "min": min, "value": partial(stats.quantile, p=0.5)
}  # fmt: skip

FLAGS = {"tukey": stats.tukey_flags, "mad": stats.mad_flags, "z": stats.z_flags}

# The shape of a distribution for its picture: 200 equal steps, both extremes included. A sample
# with fewer values than SHAPED has no shape worth drawing.
GRID = np.linspace(0.0, 1.0, 201)
SHAPED = 40


@dataclass(frozen=True, slots=True)
class Subject:
    """What a row is about: one metric at one place, with the catalogue's words for it."""

    platform: str
    instance: str
    model: str
    tier: int
    metric: str
    title: str
    unit: str
    better: str
    emulated: bool

    def row(self) -> Row:
        return {name: getattr(self, name) for name in NAMED}


@dataclass(frozen=True, slots=True)
class Cell:
    """All values of one metric on one side at one point of its axes, warm-ups apart.

    `runs` holds what every boot answered, in order, warm-ups included.
    """

    side: str
    at: Axes
    samples: pd.DataFrame
    warmups: int = 0
    failures: tuple[str, ...] = ()
    runs: tuple[tuple[float, ...], ...] = ()

    @property
    def levels(self) -> stats.Levels:
        """Values by repetition and boot."""
        return levels(self.samples.set_index(["repetition", "boot"])["value"])

    @property
    def values(self) -> list[float]:
        return self.samples["value"].to_list()

    def medians(self, *levels: str) -> pd.Series[float]:
        """The median of every repetition, or of every boot of each, in order."""
        return self.samples.groupby(list(levels))["value"].agg(stats.quantile, p=0.5)


def levels(values: pd.Series[float]) -> stats.Levels:
    """Values by repetition and boot, which their index begins with."""
    return [
        [boot.to_list() for _, boot in repetition.groupby(level="boot")]
        for _, repetition in values.groupby(level="repetition")
    ]


def place(at: Axes) -> str:
    """Axes as one field: `tokens=128`."""
    return ";".join(f"{name}={value}" for name, value in at)


def metric_rows(
    subject: Subject, summary: Iterable[str], cell: Cell, bands: Sequence[verdict.Band]
) -> list[Row]:
    """The catalogue's statistics of one cell, the specification's, and the counts beside them."""
    head = subject.row() | {"side": cell.side, "at": place(cell.at)}
    boots, repetitions = cell.medians("repetition", "boot"), cell.medians("repetition")
    head |= {"repetitions": len(repetitions), "boots": len(boots)}
    rows: list[Row] = []
    summary = tuple(summary)
    if len(cell.samples) and not summary:  # raw material: it is counted here and judged elsewhere
        recorded: Row = {"statistic": "recorded", "value": len(cell.values), "status": OK}
        rows.append(head | recorded | {"n": len(cell.values)})
    elif len(cell.samples):
        for statistic in summary:
            rows.append(head | _statistic(subject, statistic, cell, bands))
        rows += [head | row for row in _counts(cell, boots, repetitions)]
    if cell.failures:
        reasons = "; ".join(sorted(set(cell.failures)))
        failed: Row = {"statistic": "failures", "value": len(cell.failures), "n": len(cell.values)}
        rows.append(head | failed | {"status": FAILED, "detail": reasons})
    return rows


def _statistic(subject: Subject, statistic: str, cell: Cell, bands: Sequence[verdict.Band]) -> Row:
    if statistic in EXACT:
        value = EXACT[statistic](cell.values)
        return {"statistic": statistic, "value": value, "n": len(cell.values), "status": OK}
    if statistic not in QUANTILES:
        known = ", ".join([*QUANTILES, *EXACT])
        raise ValueError(f"metric {subject.metric}: no statistic {statistic!r}; known: {known}")
    estimate = stats.clustered_quantile(cell.levels, QUANTILES[statistic])
    row = _estimate("value", estimate) | {"statistic": statistic, "n": len(cell.values)}
    if QUANTILES[statistic] == 0.5:
        row |= _verdict(subject, cell.side, estimate, bands, subject.unit)
    return row


def _verdict(
    subject: Subject, compared: str, found: stats.Estimate, bands: Sequence[verdict.Band], unit: str
) -> Row:
    edges, emulated = (found.low, found.high), subject.emulated
    given = verdict.judge(bands, subject.metric, compared, edges, unit=unit, emulated=emulated)
    return {"verdict": given.word, "meaning": given.reason}


def _estimate(name: str, estimate: stats.Estimate) -> Row:
    small = estimate.value is None
    row: Row = {name: estimate.value, "low": estimate.low, "high": estimate.high}
    row |= {"n": estimate.n, "need": estimate.need, "status": SMALL if small else OK}
    return row | {"detail": f"{estimate.counted}={estimate.n} < {estimate.need}" if small else ""}


def _counts(cell: Cell, boots: pd.Series[float], repetitions: pd.Series[float]) -> Iterable[Row]:
    spread: Row = {"statistic": "boot_medians", "low": boots.min(), "high": boots.max()}
    yield spread | {"n": len(boots), "status": OK}
    counts = {"median_of_medians": stats.quantile(repetitions, 0.5)}
    counts |= {f"{name}_flags": int(flags(cell.values).sum()) for name, flags in FLAGS.items()}
    if any(len(run) > 1 for run in cell.runs):  # one value a boot has no order to look at
        marked = cell.warmups // len(cell.runs)
        worth = series.effective_size([run[marked:] for run in cell.runs])
        counts |= {"effective": round(worth, 1)}
    if cell.warmups:
        counts |= {"warmups": cell.warmups, "slow_start": series.slow_start(cell.runs)}
    for name, value in counts.items():
        yield {"statistic": name, "value": value, "n": len(cell.values), "status": OK}


def distribution_rows(subject: Subject, cell: Cell) -> list[Row]:
    """The cell's quantile function on GRID: enough to draw it, extremes included."""
    if len(cell.samples) < SHAPED:
        return []
    head = subject.row() | {"side": cell.side, "at": place(cell.at), "n": len(cell.values)}
    values = np.quantile(np.asarray(cell.values), GRID)
    return [
        head | {"p": round(float(p), 3), "value": float(f"{v:.6g}")}
        for p, v in zip(GRID, values, strict=True)
    ]


def overhead_rows(
    subject: Subject,
    contrasts: Sequence[tuple[str, str]],
    cells: Sequence[Cell],
    parity: Mapping[str, Mapping[str, object]],
    bands: Sequence[verdict.Band],
) -> list[Row]:
    """One row per contrast at one point of the axes; the A/A run says what could be seen at all.

    cells: every side of one metric at one point.
    """
    samples = pd.concat([cell.samples for cell in cells])
    sides = set(samples["side"])
    head = subject.row() | {"at": place(cells[0].at)}
    null = _ratio(samples, *overhead.NULL, parity) if set(overhead.NULL) <= sides else None
    limits = {"detectable": stats.smallest_detectable(null) if null else None}
    rows: list[Row] = []
    for pair in contrasts:
        if not set(pair) <= sides:
            continue
        row = head | {"numerator": pair[0], "denominator": pair[1]}
        reason = overhead.unlike(parity, *pair)
        if reason:
            rows.append(row | limits | {"status": UNLIKE, "detail": reason})
            continue
        blocks = overhead.block_ratios(samples, *pair)
        estimate = stats.nested_median(blocks.levels)
        if null and pair != overhead.NULL:
            estimate = stats.widened(estimate, by=null)
        row |= _estimate("ratio", estimate)
        row |= _verdict(subject, "/".join(pair), estimate, bands, "ratio")
        row |= {"repetitions": blocks.repetitions, "boots": blocks.boots, "blocks": blocks.count}
        row |= limits | _spread(blocks.levels)
        middle = overhead.ratio_of_medians(samples, *pair)
        rows.append(row | {"incomplete": blocks.incomplete, "of_medians": middle})
    return rows


def _ratio(
    samples: pd.DataFrame, top: str, bottom: str, parity: Mapping[str, Mapping[str, object]]
) -> stats.Estimate | None:
    """A ratio of two sides, or None where they may not be compared."""
    if overhead.unlike(parity, top, bottom):
        return None
    return stats.nested_median(overhead.block_ratios(samples, top, bottom).levels)


def _spread(levels: stats.Levels) -> Row:
    """What a ratio is spread by, and how many boots a narrow interval of it takes."""
    found = planning.spread(levels)
    if found is None:
        return {}
    row: Row = {"block_spread": found.block, "boot_spread": found.boot}
    return row | {"repetition_spread": found.repetition, "boots_needed": found.boots_needed()}


def stage_rows(
    subject: Subject, side: str, whole: Cell, stages: Sequence[Cell], begins: Sequence[Cell] = ()
) -> list[Row]:
    """A waterfall in the stages' order of running: each stage, their sum, the whole, the rest.

    `begins` holds when each stage began; without it one began where the one before it ended. Time
    that several stages share counts once. Sum and residual are formed boot by boot, over the boots
    that have every stage and the whole.
    """
    head = subject.row() | {"side": side}
    rows: list[Row] = []
    end = 0.0
    stages = [cell for cell in stages if len(cell.samples)]
    begun = {cell.at: cell for cell in begins if len(cell.samples)}
    for cell in stages:
        estimate = stats.clustered_quantile(cell.levels, 0.5)
        row = _estimate("value", estimate) | {"kind": "stage", "stage": dict(cell.at)["stage"]}
        start = stats.quantile(begun[cell.at].values, 0.5) if cell.at in begun else end
        row["start"] = None if estimate.value is None else start
        rows.append(head | row | {"order": len(rows)})
        end = start + stats.quantile(cell.values, 0.5)
    wholes = whole.medians("repetition", "boot")
    lines = {"whole": wholes}
    if stages:
        parts = [cell.medians("repetition", "boot") for cell in stages]
        known = all(cell.at in begun for cell in stages)
        starts = [begun[cell.at].medians("repetition", "boot") for cell in stages if known]
        complete = pd.concat([wholes, *parts, *starts], axis=1, join="inner")
        whole_ms, elapsed, starts_ms = np.split(complete.to_numpy(), [1, len(parts) + 1], axis=1)
        covered = stats.covered(starts_ms, elapsed) if known else elapsed.sum(axis=1)
        lines = {"sum": pd.Series(covered, complete.index)} | lines
        residuals = stats.residuals(whole_ms[:, 0], covered[:, None])
        lines["residual"] = pd.Series(residuals, complete.index)
    for kind in lines:
        if len(lines[kind]):
            row = _estimate("value", stats.clustered_quantile(levels(lines[kind]), 0.5))
            rows.append(head | row | {"kind": kind, "stage": kind, "order": len(rows)})
    return rows
