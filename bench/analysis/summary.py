"""The summary: all records of one platform to CSV files, one row for one printed fact.

    metrics.csv       statistics of every metric, side and point; failures with their reasons
    overhead.csv      ratios of sides with intervals; each names its denominator
    stages.csv        the cold-start waterfall: stages, sum, whole, residual
    distribution.csv  quantile functions, for the pictures
    context.csv       what every records file says about where it was made
    parity.csv        in what the sides were alike

Records made by different code, on a different image or from different weights are never mixed.
"""

from __future__ import annotations

import csv
import io
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import NoReturn

from bench import catalogue, records
from bench.analysis import facts, ledger, overhead, stats, verdict
from bench.analysis.facts import Cell, Row, Subject
from bench.analysis.overhead import Sample
from bench.records import Failure, Observation, RecordError, Records

SEED = 20260130

# A metric `x_stage` holds the stages of metric `x`.
STAGE = "_stage"

# What all records of a summary must have in common, and what those of one model must.
SHARED = {"platform": str, "emulated": bool, "pcrs": dict, "enclave_digest": str}
PER_MODEL = {"weights_sha256": str}
PLACED = {"instance": str, "model": str, "repetition": int, "tier": int}

WHERE = ("platform", "instance", "model", "tier")
NAMED = (*WHERE, "metric", "title", "unit", "better")
COLUMNS = {
    "metrics": (
        *NAMED, "side", "at", "statistic", "value", "low", "high", "n", "need", "repetitions",
        "boots", "status", "detail", "verdict", "meaning",
    ),
    "overhead": (
        *NAMED, "at", "numerator", "denominator", "ratio", "low", "high", "n", "need",
        "repetitions", "boots", "incomplete", "of_medians", "detectable", "resamples", "seed",
        "status", "detail", "verdict", "meaning",
    ),
    "stages": (
        *NAMED, "side", "order", "stage", "kind", "start", "value", "low", "high", "n", "need",
        "status", "detail",
    ),
    "distribution": (*NAMED, "side", "at", "n", "p", "value"),
    "context": (*WHERE, "repetition", "field", "value"),
    "parity": (*WHERE, "repetition", "boot", "field", *overhead.LEDGER, "equal"),
}  # fmt: skip


ABSENT: dict[str, Row] = {
    "measured": {"status": facts.ABSENT, "detail": "no record holds this metric"},
    "planned": {"status": facts.ABSENT, "detail": "planned"},
}


@dataclass(frozen=True, slots=True)
class Source:
    """One records file, read."""

    path: Path
    records: Records

    def __getitem__(self, field: str) -> object:
        return self.records.context[field]

    @property
    def repetition(self) -> int:
        return int(str(self["repetition"]))


def summarise(
    paths: Iterable[Path],
    metrics: Path,
    verdicts: Path,
    out: Path,
    *,
    seed: int = SEED,
    resamples: int = stats.RESAMPLES,
) -> None:
    """Read records files and write the six CSV files into `out`; deterministic for one seed.

    Raises RecordError where files contradict each other or the catalogue.
    """
    sources = [Source(path, records.read(path)) for path in sorted(paths)]
    check(sources)
    listed = {metric.id: metric for metric in catalogue.read(metrics)}
    bands = verdict.read(verdicts)
    tables: dict[str, list[Row]] = {name: [] for name in COLUMNS}
    for group in _groups(sources):
        _judge(group, listed, bands, tables, seed=seed, resamples=resamples)
        for source in group:
            head: Row = {name: str(source[name]) for name in (*WHERE, "repetition")}
            for table, rows in ledger.rows(source.records).items():
                tables[table] += [head | row for row in rows]
    for name, rows in tables.items():
        write(out / f"{name}.csv", COLUMNS[name], rows)


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


def _groups(sources: Sequence[Source]) -> Iterator[list[Source]]:
    """Sources by (instance, model, tier), in order, each sorted by repetition."""
    groups: dict[tuple[str, str, int], list[Source]] = defaultdict(list)
    for source in sources:
        where = (str(source["instance"]), str(source["model"]), int(str(source["tier"])))
        groups[where].append(source)
    for where in sorted(groups):
        yield sorted(groups[where], key=lambda source: source.repetition)


def _judge(
    group: Sequence[Source],
    listed: Mapping[str, catalogue.Metric],
    bands: Sequence[verdict.Band],
    tables: dict[str, list[Row]],
    *,
    seed: int,
    resamples: int,
) -> None:
    cells, tier = _cells(group, listed), group[0]["tier"]
    parity = ledger.ledger([source.records for source in group])
    for name, metric in listed.items():
        if metric.tier != tier:
            continue
        subject = _subject(group[0], metric)
        if name not in cells:
            if metric.status != "computed":
                tables["metrics"].append(subject.row() | ABSENT[metric.status])
            continue
        by_place: dict[facts.At, list[Cell]] = defaultdict(list)
        for cell in cells[name]:
            tables["metrics"] += facts.metric_rows(subject, metric.summary, cell, bands)
            if "p95" in metric.summary:
                tables["distribution"] += facts.distribution_rows(subject, cell)
            by_place[cell.at].append(cell)
        for point in by_place.values():
            tables["overhead"] += facts.overhead_rows(
                subject, metric.contrasts, point, parity, bands, seed=seed, resamples=resamples
            )
        whole = name.removesuffix(STAGE)
        if name.endswith(STAGE) and whole in listed:
            subject = _subject(group[0], listed[whole])
            tables["stages"] += _waterfalls(subject, cells.get(whole, []), cells[name])


def _subject(source: Source, metric: catalogue.Metric) -> Subject:
    return Subject(
        platform=str(source["platform"]), instance=str(source["instance"]),
        model=str(source["model"]), tier=int(str(source["tier"])), metric=metric.id,
        title=metric.title, unit=metric.unit, better=metric.better,
        emulated=source["emulated"] is True,
    )  # fmt: skip


def _waterfalls(subject: Subject, wholes: Sequence[Cell], stages: Sequence[Cell]) -> Iterator[Row]:
    by_side = {cell.side: cell for cell in wholes}
    for side in dict.fromkeys(cell.side for cell in stages):
        whole = by_side.get(side, Cell(side, (), ()))
        yield from facts.stage_rows(
            subject, side, whole, [cell for cell in stages if cell.side == side]
        )


def _cells(
    group: Sequence[Source], listed: Mapping[str, catalogue.Metric]
) -> dict[str, list[Cell]]:
    """Cells per metric, ordered; RecordError for a metric or side the catalogue lacks."""
    samples: dict[tuple[str, str, facts.At], list[Sample]] = defaultdict(list)
    warmups: dict[tuple[str, str, facts.At], int] = defaultdict(int)
    failures: dict[tuple[str, str, facts.At], list[str]] = defaultdict(list)
    keys: dict[tuple[str, str, facts.At], None] = {}
    for source in group:
        every: tuple[Observation | Failure, ...] = source.records.observations
        for record in every + source.records.failures:
            known = listed.get(record.metric)
            if known is None:
                _unlisted(source, "metric", record.metric, "one of the catalogue")
            elif record.side not in known.sides:
                _unlisted(source, "side", record.side, f"one of {', '.join(known.sides)}")
            key = (record.metric, record.side, record.at)
            keys.setdefault(key)
            if isinstance(record, Failure):
                failures[key].append(record.reason)
            elif record.warmup:
                warmups[key] += 1
            else:
                samples[key].append(
                    Sample(source.repetition, record.boot, record.block, record.side, record.value)
                )
    cells: dict[str, list[Cell]] = defaultdict(list)
    for key in sorted(keys, key=lambda key: _order(listed[key[0]], *key[1:])):
        metric, side, at = key
        cells[metric].append(
            Cell(side, at, tuple(samples[key]), warmups[key], tuple(failures[key]))
        )
    return cells


def _order(metric: catalogue.Metric, side: str, at: facts.At) -> tuple[list[float], int]:
    """Numeric axes up, sides as the catalogue has them; stages stay in the order they ran in."""
    numbers = [float(value) for _, value in at if not isinstance(value, str)]
    return numbers, metric.sides.index(side)


def _unlisted(source: Source, field: str, found: str, expected: str) -> NoReturn:
    # Line 1 stands for the file: a record that was read no longer knows its line.
    raise RecordError(source.path, 1, field, found=found, expected=expected)


def write(path: Path, columns: Sequence[str], rows: Iterable[Row]) -> None:
    """Write one CSV file in one step; None becomes an empty field."""
    text = io.StringIO(newline="")
    writer = csv.DictWriter(text, columns, lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    records.replace(path, text.getvalue().encode())
