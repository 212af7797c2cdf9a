"""Goals: which engines are compared at which points, and the ratio that each is to reach.

`config/goals.tsv` is the one place that says so. What a run of `make bench` measures, and which
ratios are printed beside which goals, derive from it. Measuring takes only `measured()` of it, so
that a new goal or title measures nothing again.
"""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path

from bench import tables
from bench.tables import Row

COLUMNS = (
    *("probe", "metric", "model", "at", "unit", "numerator", "denominator"),
    *("bound", "goal", "stretch", "title"),
)
BOUNDS = ("at_most", "at_least")
PRECISIONS = ("fp32", "int8", "q4")
OURS = "ours"

# Our int8 weights are a model of their own, with this ending to the float one's name; a model that
# is compared in four bits has no float one.
ENDINGS = {"fp32": "", "int8": "-q8", "q4": ""}


@dataclass(frozen=True, slots=True)
class Goal:
    """One ratio at one point; `goal` and `stretch` are None where there is none to reach."""

    probe: str
    metric: str
    model: str
    at: str
    unit: str
    numerator: str
    denominator: str
    bound: str
    goal: float | None
    stretch: float | None
    title: str


def read(path: Path) -> list[Goal]:
    """Every ratio of the table, a row's points one by one; ConfigError names the cell."""
    rows = tables.read(path, COLUMNS, key=("metric", "model", "at", "numerator", "denominator"))
    return [_goal(row, point) for row in rows for point in _points(row)]


def measured(goals: Iterable[Goal], probe: str, model: str) -> list[dict[str, str]]:
    """What measuring one model needs to know, as plain maps: metric, point, sides."""
    return [
        {"metric": goal.metric, "at": goal.at, "sides": f"{goal.numerator} {goal.denominator}"}
        for goal in goals
        if (goal.probe, goal.model) == (probe, model)
    ]


def weights(model: str, side: str) -> str:
    """The model whose files a side runs on: ours has one for each precision."""
    engine, _, precision = side.rpartition("-")
    return f"{model}{ENDINGS[precision]}" if engine == OURS else model


def _goal(row: Row, point: str) -> Goal:
    for column in ("numerator", "denominator"):
        if "-" in row.given(column) and row.given(column).rpartition("-")[2] not in PRECISIONS:
            raise row.error(column, expected=f"engine-precision, of {', '.join(PRECISIONS)}")
    return Goal(
        **{name: row.given(name) for name in ("probe", "metric", "model", "unit", "title")},
        at=point,
        numerator=row.given("numerator"),
        denominator=row.given("denominator"),
        bound=row.one_of("bound", BOUNDS),
        goal=_number(row, "goal"),
        stretch=_number(row, "stretch"),
    )


def _points(row: Row) -> tuple[str, ...]:
    """Blank-separated points, each `axis=number` words joined by semicolons; `-` is one of none."""
    for point in row.words("at"):
        for part in point.split(";"):
            axis, equals, value = part.partition("=")
            if not (axis.isidentifier() and equals and value.isdecimal()):
                raise row.error("at", found=part, expected="axis=integer")
    return row.words("at") or ("",)


def _number(row: Row, column: str) -> float | None:
    cell = row.text(column)
    try:
        number = float(cell) if cell else None
    except ValueError:
        number = 0.0
    if number is not None and not 0 < number < 1e6:
        raise row.error(column, expected="a ratio above 0, or -")
    return number
