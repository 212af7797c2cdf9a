"""The table of ratios: ours over a peer's, with its interval and beside it the goal.

A goal holds where the whole interval does, as the table of goals defines it; anything else is a
miss and is printed as one. What was not measured says so and why.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench import files, goals, records
from bench.analysis import overhead, roofline, sheets, stats, tables
from bench.goals import Goal
from bench.records import Axes, Records

MET, MISSED, NONE = "met", "MISSED", ""
UNMEASURED = "not measured"
FLOORED = "forward"  # the metric that a roofline is the floor of
COLUMNS = (
    *("instance", "model", "metric", "title", "at", "unit", "numerator", "denominator"),
    *("ratio", "low", "high", "blocks", "repetitions", "boots", "of_numerator", "of_denominator"),
    *("bound", "goal", "verdict", "stretch", "stretch_verdict", "status", "detail"),
)

Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class Found:
    """All records of one model on one instance: samples, and what engines said of themselves."""

    instance: str
    samples: pd.DataFrame
    engines: Sequence[Mapping[str, Mapping[str, Any]]]


def summarise(paths: Iterable[Path], table: Path, out: Path) -> str:
    """Write `out` (CSV) and beside it the same as markdown, which is returned."""
    found = _found([records.read(path) for path in sorted(paths)])
    wanted = goals.read(table)
    rows = [
        _row(goal, found[key]) for key in sorted(found) for goal in wanted if goal.model == key[1]
    ]
    frame = pd.DataFrame(rows, columns=COLUMNS, dtype=object)
    sheets.write(out, frame)
    text = markdown(frame)
    files.replace(out.with_suffix(".md"), text.encode())
    return text


def page(path: Path) -> str:
    """The report's section: the markdown beside the CSV file, where `make bench` ever ran."""
    beside = path.with_suffix(".md")
    return beside.read_text() if beside.is_file() else "Not measured; `make bench` does.\n"


def markdown(frame: pd.DataFrame) -> str:
    """One line a ratio; a goal stands beside it with its verdict."""
    if frame.empty:
        return "Nothing was measured.\n"
    text = pd.DataFrame(
        {
            "What": frame["title"].map(tables.plain),
            "At": frame["at"].map(tables.point),
            "Compared": frame.apply(tables.ratio, axis=1),
            "Ratio": frame.apply(_cell, axis=1),
            "boots": frame["boots"],
            "blocks": frame["blocks"],
            "Medians": frame.apply(_medians, axis=1),
            "Goal": frame.apply(_goal, axis=1, which="goal"),
            "Verdict": frame["verdict"],
            "Stretch": frame.apply(_goal, axis=1, which="stretch"),
            "reached": frame["stretch_verdict"],
        }
    )
    caption = (
        "Ours in multiples of a peer's, both in one run. Ratios are formed inside mirrored blocks; "
        "printed is the mean over boots of their medians, with its 95 % interval"
    )
    return tables.pipe(text, caption, "ratios")


def _found(sources: Sequence[Records]) -> dict[tuple[str, str], Found]:
    """By instance and model, with the floors that the rates of the rooflines make."""
    groups: dict[tuple[str, str], list[Records]] = {}
    for source in sources:
        key = str(source.context["instance"]), str(source.context["model"])
        groups.setdefault(key, []).append(source)
    return {key: _group(key[0], group) for key, group in groups.items()}


def _group(instance: str, group: Sequence[Records]) -> Found:
    rows = [
        {"repetition": source.context["repetition"], **_fields(observation)}
        for source in group
        for observation in source.observations
        if not observation.warmup
    ]
    samples = pd.DataFrame(rows)
    boots: list[Any] = [boot for source in group for boot in source.context["per_boot"]]  # type: ignore[attr-defined]
    engines = [boot["engines"] for boot in boots]
    dimensions = [told["dimensions"] for told in engines[0].values() if "dimensions" in told]
    if dimensions:
        floors = roofline.floors(samples, dimensions[0], FLOORED, unit_per_s=1e3)
        samples = pd.concat([samples, floors], ignore_index=True)
    return Found(instance, samples, engines)


def _fields(observation: records.Observation) -> Row:
    names = ("metric", "side", "boot", "block", "iteration", "value", "at")
    return {name: getattr(observation, name) for name in names}


def _row(goal: Goal, found: Found) -> Row:
    """1. both sides there  2. alike  3. ratio with interval  4. against the goal."""
    head = {name: value for name, value in asdict(goal).items() if name in COLUMNS}
    row: Row = head | {"instance": found.instance, "verdict": NONE, "stretch_verdict": NONE}
    samples = found.samples
    samples = samples[(samples["metric"] == goal.metric) & (samples["at"].map(_place) == goal.at)]
    for side in (goal.numerator, goal.denominator):  # 1
        if not (samples["side"] == side).any():
            return row | {"status": UNMEASURED, "detail": f"no {side} in this run"}
    if reason := _unlike(found.engines, goal.numerator, goal.denominator):  # 2
        return row | {"status": "not comparable", "detail": reason}
    blocks = overhead.block_ratios(samples, goal.numerator, goal.denominator)  # 3
    estimate = stats.nested_median(blocks.levels)
    medians = samples.groupby("side")["value"].median()
    row |= {
        "ratio": estimate.value,
        "low": estimate.low,
        "high": estimate.high,
        "blocks": blocks.count,
        "repetitions": blocks.repetitions,
        "boots": blocks.boots,
        "of_numerator": medians[goal.numerator],
        "of_denominator": medians[goal.denominator],
    }
    if estimate.value is None:
        return row | {"status": "too few", "detail": f"{estimate.n} of {estimate.need} boots"}
    row["verdict"] = judge(estimate, goal.bound, goal.goal)  # 4
    row["stretch_verdict"] = judge(estimate, goal.bound, goal.stretch)
    return row | {"status": "ok", "detail": ""}


def judge(estimate: stats.Estimate, bound: str, goal: float | None) -> str:
    """Whether the whole interval is on the goal's side; empty where there is no goal."""
    if goal is None or estimate.low is None or estimate.high is None:
        return NONE
    holds = estimate.high <= goal if bound == "at_most" else estimate.low >= goal
    return MET if holds else MISSED


def _unlike(
    engines: Sequence[Mapping[str, Mapping[str, Any]]], numerator: str, denominator: str
) -> str:
    """Why two sides may not be compared, or nothing: the same CPUs, as many threads, every boot.

    A side without an engine of its own was started by the row, with the CPUs of all.
    """
    for boot in (boot for boot in engines if {numerator, denominator} <= boot.keys()):
        for field in ("cpus", "threads"):
            one, other = boot[numerator].get(field), boot[denominator].get(field)
            if one != other:
                return f"{field}: {numerator} {one}, {denominator} {other}"
    return ""


def _place(at: Axes) -> str:
    return ";".join(f"{axis}={value}" for axis, value in at)


def _cell(row: Mapping[Any, Any]) -> str:
    if row["status"] != "ok":
        return f"{row['status']} ({tables.plain(row['detail'])})"
    return tables.measured(row, "ratio")


def _medians(row: Mapping[Any, Any]) -> str:
    if row["status"] != "ok":
        return ""
    pair = (tables.number(row[side]) for side in ("of_numerator", "of_denominator"))
    unit = "" if row["unit"] == "1" else f" {row['unit']}"
    return f"{' / '.join(pair)}{unit}"


def _goal(row: Mapping[Any, Any], which: str) -> str:
    if row[which] is None:
        return ""
    return f"{'≤' if row['bound'] == 'at_most' else '≥'} {row[which]:g}"
