"""Verdicts: the specification's words for a result (seed 4.3), given only where they are safe.

A word is given when the whole interval lies in its band; an interval that touches two bands is
undecided. What was measured on an emulated platform is no statement about a TEE and gets none.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from bench import tables

EMULATED = "no verdict: emulated"
UNDECIDED = "undecided"

COLUMNS = ("quantity", "metric", "compared", "unit", "from", "below", "verdict", "meaning", "seed")

UNITS = ("%", "s")

# What turns the unit of a value or ratio into the unit of its band.
PER_SECOND = {"s": 1.0, "ms": 1e-3}


@dataclass(frozen=True, slots=True)
class Band:
    """[low, high) in `unit` for one metric; `compared` is a side or numerator/denominator."""

    quantity: str
    metric: str
    compared: str
    unit: str
    low: float
    high: float
    verdict: str
    meaning: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """The word and why; `word` is empty where the specification has no band for the quantity."""

    word: str = ""
    reason: str = ""


def read(path: Path) -> list[Band]:
    """Read config/verdicts.tsv; ConfigError names the cell that is wrong."""
    return [_band(row) for row in tables.read(path, COLUMNS, key=("metric", "compared", "from"))]


def _band(row: tables.Row) -> Band:
    low, high = _edge(row, "from", -math.inf), _edge(row, "below", math.inf)
    if not low < high:
        raise row.error("below", expected=f"more than {low:g}")
    return Band(
        quantity=row.given("quantity"),
        metric=row.given("metric"),
        compared=row.given("compared"),
        unit=row.one_of("unit", UNITS),
        low=low,
        high=high,
        verdict=row.given("verdict"),
        meaning=row.given("meaning"),
    )


def _edge(row: tables.Row, column: str, absent: float) -> float:
    cell = row.text(column)
    try:
        return float(cell) if cell else absent
    except ValueError:
        raise row.error(column, expected="a number or -") from None


def judge(
    bands: Sequence[Band],
    metric: str,
    compared: str,
    interval: tuple[float | None, float | None],
    *,
    unit: str,
    emulated: bool,
) -> Verdict:
    """The verdict on an interval given in `unit` ("ratio", "ms" or "s").

    1. no band for the quantity: no verdict, no words
    2. emulated: no verdict, and it says so
    3. no interval, or one that touches two bands or none: undecided
    4. otherwise the band's word
    """
    bands = [band for band in bands if (band.metric, band.compared) == (metric, compared)]
    if not bands:  # 1
        return Verdict()
    if emulated:  # 2
        return Verdict(EMULATED, "an emulated platform says nothing about a TEE")
    if interval[0] is None or interval[1] is None:  # 3
        return Verdict(UNDECIDED, "no interval")
    low, high = (_convert(edge, unit, bands[0].unit) for edge in interval if edge is not None)
    for band in bands:
        if band.low <= low and high < band.high:  # 4
            return Verdict(band.verdict, band.meaning)
    edges = f"{low:.3g} to {high:.3g} {bands[0].unit}"
    return Verdict(UNDECIDED, f"the interval, {edges}, lies in more than one band")


def _convert(value: float, unit: str, wanted: str) -> float:
    if unit == "ratio" and wanted == "%":
        return (value - 1) * 100
    if unit in PER_SECOND and wanted == "s":
        return value * PER_SECOND[unit]
    raise ValueError(f"cannot compare {unit} with a band in {wanted}")
