"""The catalogue: what is measured, in which unit, and how it is summed up.

`config/metrics.tsv` is the one place that says so. Which probes a tier runs, which lines a record
may hold, which statistics are printed, and the page that says what is missing all derive from it.
A measuring rule takes only `measured()` of it, so that a new title reruns nothing.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import tables
from bench.tables import Row

COLUMNS = (
    "metric",
    "tier",
    "status",
    "probe",
    "unit",
    "axis",
    "sides",
    "models",
    "better",
    "summary",
    "contrasts",
    "seed",
    "title",
)
TIERS = ("1", "2", "3", "4", "5")
STATUSES = ("measured", "computed", "planned")
BETTER = ("lower", "higher", "neither")
SIDES = ("plain", "bare", "enclave", "padded", "null", "tcp")
KINDS = ("encoder", "generator")  # of models; a classification head is an encoder's
SUMMARIES = ("p50", "p95", "p99", "median", "min", "max", "value", "slope")


@dataclass(frozen=True, slots=True)
class Metric:
    """One row. `probe` is a module of `bench.probes`, or empty where analysis computes it.

    `axis` names what is swept (blank-separated where several), `models` the kinds of models that it
    is measured for, `contrasts` are (side, denominator) pairs, `seed` is the row of the
    specification's tables that asks for the metric.
    """

    id: str
    tier: int
    status: str
    probe: str
    unit: str
    axis: str
    sides: tuple[str, ...]
    models: tuple[str, ...]
    better: str
    summary: tuple[str, ...]
    contrasts: tuple[tuple[str, str], ...]
    seed: str
    title: str


def read(path: Path) -> list[Metric]:
    """The whole catalogue, in the table's order; ConfigError names the cell that is wrong."""
    return [_metric(row) for row in tables.read(path, COLUMNS, key=("metric",))]


def measured(metrics: Iterable[Metric], tier: int, kind: str) -> list[dict[str, str]]:
    """What measuring one tier of a kind of model needs to know, as plain maps, and no more."""
    return [
        {"id": metric.id, "probe": metric.probe, "unit": metric.unit, "axis": metric.axis}
        for metric in metrics
        if metric.tier == tier and metric.status == "measured" and kind in metric.models
    ]


def probes(metrics: Iterable[Metric], tier: int, kind: str) -> list[str]:
    """Modules of the probes that one tier runs on a kind of model, each once, in table order."""
    names = [metric["probe"] for metric in measured(metrics, tier, kind)]
    return [f"bench.probes.{name}" for name in dict.fromkeys(names)]


def tiers(metrics: Iterable[Metric], kind: str) -> list[int]:
    """Tiers that have something to measure for a kind of model."""
    here = [metric for metric in metrics if kind in metric.models]
    return sorted({metric.tier for metric in here if metric.status == "measured"})


def _metric(row: Row) -> Metric:
    metric = Metric(
        id=_identifier(row, "metric"),
        tier=int(row.one_of("tier", TIERS)),
        status=row.one_of("status", STATUSES),
        probe=row.text("probe") and _identifier(row, "probe"),
        unit=row.given("unit"),
        axis=_axes(row),
        sides=row.words("sides", SIDES),
        models=_kinds(row),
        better=row.one_of("better", BETTER),
        summary=row.words("summary", SUMMARIES),
        contrasts=tuple(_contrast(row, pair) for pair in row.words("contrasts")),
        seed=row.given("seed"),
        title=row.given("title"),
    )
    if (metric.status == "measured") != bool(metric.probe):
        raise row.error(
            "probe",
            expected=f"{'a probe' if metric.status == 'measured' else '-'} ({metric.status})",
            hint="a measured metric names the module of bench/probes that yields it; others do not",
        )
    return metric


def _identifier(row: Row, column: str) -> str:
    cell = row.given(column)
    if not cell.isidentifier() or cell != cell.lower():
        raise row.error(column, expected="a noun in lower case, words joined by _")
    return cell


def _axes(row: Row) -> str:
    for word in row.words("axis"):
        if not word.isidentifier() or word != word.lower():
            raise row.error("axis", found=word, expected="nouns in lower case, or -")
    return row.text("axis")


def _kinds(row: Row) -> tuple[str, ...]:
    row.given("models")
    return row.words("models", KINDS)


def _contrast(row: Row, pair: str) -> tuple[str, str]:
    side, slash, denominator = pair.partition("/")
    sides = row.words("sides", SIDES)
    if not slash or side not in sides or denominator not in sides or side == denominator:
        raise row.error(
            "contrasts", found=pair, expected=f"side/denominator, both of {', '.join(sides)}"
        )
    return side, denominator
