"""The summary: all records of one platform to CSV files, one row for one printed fact.

    metrics.csv       statistics of every metric, side and point; failures with their reasons
    overhead.csv      ratios of sides with intervals; each names its denominator
    stages.csv        the cold-start waterfall: stages, sum, whole, residual
    scaling.csv       how latency grows with length: a fit and its residuals
    distribution.csv  quantile functions, for the pictures
    timeline.csv      raw points in their order, for the pictures
    quality.csv       which answers are equal, how many right, what coarser weights lose
    context.csv       what every records file says about where it was made
    parity.csv        in what the sides were alike

Records made by different code, on a different image or from different weights are never mixed.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import groupby
from operator import itemgetter
from pathlib import Path
from typing import Any

import pandas as pd

from bench import catalogue, plan, records
from bench.analysis import (
    facts,
    growth,
    ledger,
    losses,
    quality,
    scaling,
    sheets,
    timelines,
    verdict,
)
from bench.analysis.facts import Cell, Row, Subject
from bench.records import Axes, RecordError, Records

# A metric `x_stage` holds the stages of metric `x`, `x_begin` when each of them began.
STAGE, BEGIN = "_stage", "_begin"

QUALITY = 3  # the tier whose answers are compared with each other

# What all records of a summary must have in common, and what those of one model must.
SHARED = {"platform": str, "emulated": bool, "pcrs": dict, "enclave_digest": str}
PER_MODEL = {"weights_sha256": str}
PLACED = {"instance": str, "model": str, "repetition": int, "tier": int}

# What a record says; an observation has no reason, a failure no value.
FIELDS = ("metric", "side", "at", "boot", "block", "iteration", "value", "warmup", "reason")

ABSENT: dict[str, Row] = {
    "measured": {"status": facts.ABSENT, "detail": "no record holds this metric"},
    "planned": {"status": facts.ABSENT, "detail": "planned"},
}


@dataclass(frozen=True, slots=True)
class Source:
    """One records file, read."""

    path: Path
    records: Records

    def __getitem__(self, field: str) -> Any:
        """A field of the context; of what type those in PLACED are, `check` has seen to."""
        return self.records.context[field]


def summarise(
    paths: Iterable[Path],
    metrics: Path,
    verdicts: Path,
    out: Path,
    *,
    models: Path,
) -> None:
    """Read records files and write the nine CSV files into `out`.

    Raises RecordError where files contradict each other or the catalogue.
    """
    known = plan.models(models)
    sources = [Source(path, records.read(path)) for path in sorted(paths)]
    check(sources)
    sources = _ordered(sources, known)
    listed = {metric.id: metric for metric in catalogue.read(metrics)}
    bands = verdict.read(verdicts)
    tables: dict[str, list[Row]] = {name: [] for name in sheets.COLUMNS}
    kinds = {row.model: row.kind for row in known}
    for group in _groups(sources):
        _judge(group, listed, bands, tables, kinds.get(group[0]["model"], ""))
        for source in group:
            head: Row = {name: str(source[name]) for name in (*sheets.WHERE, "repetition")}
            for table, rows in ledger.rows(source.records).items():
                tables[table] += [head | row for row in rows]
    tables["quality"] = _quality(sources, listed, known)
    for name, rows in tables.items():
        # Objects: a column of counts stays one where some rows have none.
        frame = pd.DataFrame(rows, columns=sheets.COLUMNS[name], dtype=object)
        sheets.write(out / f"{name}.csv", frame)


def check(sources: Sequence[Source]) -> None:
    """Refuse records that may not be mixed, or that do not say whether they may.

    1. every field that decides is there and of its type
    2. platform, image measurements, enclave digest: the same everywhere
    3. digest of the weights: the same for one model
    4. no cell twice
    """
    firsts: dict[tuple[object, ...], Source] = {}
    for source in sources:
        context = source.records.context
        for field, kind in (SHARED | PER_MODEL | PLACED).items():  # 1
            if type(context.get(field)) is not kind:
                expected = f"{records.TYPE_NAMES[kind]} in the context"
                raise RecordError(
                    source.path, 1, field, found=context.get(field), expected=expected
                )
        for field in SHARED:  # 2
            _same(firsts.setdefault((field,), source), source, field)
        for field in PER_MODEL:  # 3
            _same(firsts.setdefault((field, context["model"]), source), source, field)
        cell = tuple(context[field] for field in PLACED)
        first = firsts.setdefault(cell, source)
        if first is not source:  # 4
            expected = f"another cell than {first.path} holds"
            raise RecordError(source.path, 1, "repetition", found=cell, expected=expected)


def _same(first: Source, source: Source, field: str) -> None:
    if first[field] != source[field]:
        raise RecordError(
            source.path, 1, field, found=source[field],
            expected=f"{first[field]!r} as in {first.path}",
            hint="these were not measured on the same thing; measure again or summarise apart",
        )  # fmt: skip


def _groups(sources: Sequence[Source]) -> list[list[Source]]:
    """Neighbours with the same instance, model and tier."""
    where = itemgetter("instance", "model", "tier")
    return [list(group) for _, group in groupby(sources, key=where)]


def _ordered(sources: Sequence[Source], known: Sequence[plan.Model]) -> list[Source]:
    """By instance, by model as their table has them, by tier and repetition."""
    places = {model.model: place for place, model in enumerate(known)}

    def place(source: Source) -> tuple[str, int, str, int, int]:
        model = source["model"]
        at = places.get(model, len(places))
        return source["instance"], at, model, source["tier"], source["repetition"]

    return sorted(sources, key=place)


def _judge(
    group: Sequence[Source],
    listed: Mapping[str, catalogue.Metric],
    bands: Sequence[verdict.Band],
    tables: dict[str, list[Row]],
    kind: str,
) -> None:
    """Rows of one model and tier; what is absent of a metric for another kind of model is none."""
    found, tier = _frame(group, listed), group[0]["tier"]
    parity = ledger.ledger([source.records for source in group])
    for metric in listed.values():
        if metric.tier != tier:
            continue
        subject, cells = _subject(group[0], metric), _cells(found, metric)
        if not cells and metric.status != "computed" and kind in ("", *metric.models):
            tables["metrics"].append(subject.row() | ABSENT[metric.status])
        by_place: dict[Axes, list[Cell]] = defaultdict(list)
        for cell in cells:
            tables["metrics"] += facts.metric_rows(subject, metric.summary, cell, bands)
            if "p95" in metric.summary:
                tables["distribution"] += facts.distribution_rows(subject, cell)
            by_place[cell.at].append(cell)
        for point in by_place.values():
            tables["overhead"] += facts.overhead_rows(
                subject, metric.contrasts, point, parity, bands
            )
        if metric.id == scaling.METRIC:
            tables["scaling"] += scaling.rows(subject, cells)
        if metric.id == growth.METRIC:
            tables["metrics"] += growth.rows(subject, found)
        if metric.id in timelines.DRAWN:
            tables["timeline"] += timelines.rows(subject, cells)
        whole = listed.get(metric.id.removesuffix(STAGE))
        if metric.id.endswith(STAGE) and whole:
            subject = _subject(group[0], whole)
            began = listed.get(f"{whole.id}{BEGIN}")
            begins = _cells(found, began) if began else []
            tables["stages"] += _waterfalls(subject, _cells(found, whole), cells, begins)


def _quality(
    sources: Sequence[Source],
    listed: Mapping[str, catalogue.Metric],
    models: Sequence[plan.Model],
) -> list[Row]:
    """What the answers of every model are worth, by themselves and beside finer weights."""
    measured = []
    for group in _groups([source for source in sources if source["tier"] == QUALITY]):
        where = {name: group[0][name] for name in ("platform", "instance", "model")}
        found = _frame(group, listed)
        found = found[found["value"].notna() & ~found["warmup"]]
        seeded = group[0].records.context.get("model_source") == "seeded"
        measured.append(quality.Answers(**where, seeded=seeded, found=found))
    own = [row for answers in measured for row in quality.rows(answers)]
    return own + losses.rows(measured, models)


def _subject(source: Source, metric: catalogue.Metric) -> Subject:
    where = {name: source[name] for name in (*sheets.WHERE, "emulated")}
    return Subject(
        **where, metric=metric.id, title=metric.title, unit=metric.unit, better=metric.better
    )


def _waterfalls(
    subject: Subject, wholes: Sequence[Cell], stages: Sequence[Cell], begins: Sequence[Cell]
) -> Iterator[Row]:
    by_side = {cell.side: cell for cell in wholes}
    for side in dict.fromkeys(cell.side for cell in stages):
        own = [cell for cell in stages if cell.side == side]
        whole = by_side.get(side, Cell(side, (), own[0].samples[:0]))
        begun = [cell for cell in begins if cell.side == side]
        yield from facts.stage_rows(subject, side, whole, own, begun)


def _frame(group: Sequence[Source], listed: Mapping[str, catalogue.Metric]) -> pd.DataFrame:
    """All records of a group, a row each; a failure has a reason in place of a value.

    RecordError for a metric or side that the catalogue lacks.
    """
    rows = [
        (source.path, source["repetition"], *(getattr(record, name, None) for name in FIELDS))
        for source in group
        for record in records.counted((*source.records.observations, *source.records.failures))
    ]
    rows += [
        (source.path, source["repetition"], *(getattr(failure, name, None) for name in FIELDS))
        for source in group
        for record in source.records.failures
        for failure in _failures(record, listed)
    ]
    found = pd.DataFrame(rows, columns=["path", "repetition", *FIELDS])
    for path, metric, side in found[["path", "metric", "side"]].drop_duplicates().to_numpy():
        # Line 1 stands for the file: a record that was read no longer knows its line.
        if metric not in listed:
            expected = "one of the catalogue"
            raise RecordError(path, 1, "metric", found=metric, expected=expected)
        if side not in listed[metric].sides:
            expected = f"one of {', '.join(listed[metric].sides)}"
            raise RecordError(path, 1, "side", found=side, expected=expected)
    return found.astype({"value": float, "warmup": bool})


def _failures(
    failure: records.Failure, listed: Mapping[str, catalogue.Metric]
) -> Iterator[records.Failure]:
    """One for each side, where it took all sides of its metric."""
    if failure.side == records.EVERY and failure.metric in listed:
        yield from (replace(failure, side=side) for side in listed[failure.metric].sides)
    else:
        yield failure


def _cells(found: pd.DataFrame, metric: catalogue.Metric) -> list[Cell]:
    """Numeric axes up, sides as the catalogue has them; stages stay in the order they ran in."""
    own = found[found["metric"] == metric.id]
    cells = [_cell(records) for _, records in own.groupby(["side", "at"], sort=False)]
    return sorted(cells, key=lambda cell: (_numbers(cell.at), metric.sides.index(cell.side)))


def _cell(records: pd.DataFrame) -> Cell:
    side, at = records.iloc[0][["side", "at"]]
    samples = records[records["value"].notna() & ~records["warmup"]]
    warmups, failures = int(records["warmup"].sum()), tuple(records["reason"].dropna())
    answered = records[records["value"].notna()].sort_values("iteration", kind="stable")
    runs = tuple(tuple(run) for _, run in answered.groupby(["repetition", "boot"])["value"])
    return Cell(side, at, samples, warmups, failures, runs)


def _numbers(at: Axes) -> list[float]:
    return [float(value) for _, value in at if not isinstance(value, str)]
