"""Tables: rows of the summary to pipe tables in markdown, and how a number is written.

A value stands with its interval and is written to the digits that interval supports. What could not
be estimated says so with its n; a table never shows a number that nobody measured.
"""

from __future__ import annotations

import csv
import math
import re
import string
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

Row = Mapping[str, str]

NONE = "–"
SPACE = "\u00a0"  # a number and its unit stay on one line
AXES = {"tokens": "tokens", "sessions": "sessions"}
KIB, MIB = 1024, 1024 * 1024
STATISTICS = {"p50": "median", "value": "value"}
# Statistics that the table of a metric has no column for.
ELSEWHERE = {
    "tukey_flags", "mad_flags", "z_flags", "warmups", "median_of_medians", "failures",
    "boot_medians",
}  # fmt: skip
SIDES = ("plain", "bare", "enclave", "null", "tcp")


def read(path: Path) -> list[dict[str, str]]:
    """Rows of one CSV file as text; an absent file has none."""
    if not path.is_file():
        return []
    with path.open(encoding="utf-8", newline="") as file:
        return list(csv.DictReader(file))


def select(rows: Iterable[Row], **wanted: str) -> list[Row]:
    """Rows whose fields have exactly these values."""
    return [row for row in rows if all(row[name] == value for name, value in wanted.items())]


def distinct(rows: Iterable[Row], *names: str) -> list[tuple[str, ...]]:
    """Combinations of these fields, in the order first seen."""
    return list(dict.fromkeys(tuple(row[name] for name in names) for row in rows))


def number(value: float, arm: float = 0.0, *, digits: int = 4) -> str:
    """A value to the digits that an interval with this arm supports, else to so many in all."""
    if not value:
        return "0"
    most = 4 - math.floor(math.log10(abs(value)))  # decimals that make five digits in all
    finest = arm if arm > 0 else abs(value) / 10 ** (digits - 1)
    decimals = max(min(-math.floor(math.log10(finest)), most), 0)
    return f"{value:,.{decimals}f}".replace("-", "−")


def measured(row: Row, name: str = "value") -> str:
    """`4.06 [4.02, 4.08]`, or why there is no number."""
    if row["status"] != "ok":
        return f"{row['status']} ({plain(row['detail'])})"
    value = float(row[name])
    if not row["low"]:
        return number(value)
    edges = [float(row["low"]), float(row["high"])]
    # The shorter arm says how finely the value is known; a one-sided tail would hide it.
    arm = min((abs(value - edge) for edge in edges if edge != value), default=0.0)
    low, high = (_alike(edge, number(value, arm)) for edge in edges)
    return f"{number(value, arm)} [{low}, {high}]"


def _alike(value: float, model: str) -> str:
    """A value with as many decimals as another has."""
    decimals = len(model.partition(".")[2])
    return f"{value:,.{decimals}f}".replace("-", "−")


def point(at: str) -> str:
    """`tokens=128` as a reader says it: 128 tokens, 64 KiB."""
    return ", ".join(_axis(*part.split("=", 1)) for part in at.split(";")) if at else NONE


def _axis(name: str, value: str) -> str:
    if name == "payload_bytes" and value.isdigit():
        size = int(value)
        for unit, step in (("MiB", MIB), ("KiB", KIB)):
            if size >= step and size % step == 0:
                return f"{size // step}{SPACE}{unit}"
        return f"{size}{SPACE}B"
    if name not in AXES:
        return plain(value.replace("_", " "))
    value = plain(value)
    return f"{value}{SPACE}{AXES[name].removesuffix('s') if value == '1' else AXES[name]}"


def pipe(header: Sequence[str], rows: Iterable[Sequence[str]], caption: str, label: str) -> str:
    """A pipe table with caption and label; the first column heads its rows.

    A column of numbers is set to the right; a column in which no cell says anything is left out.
    """
    body = [[_cell(cell) for cell in row] for row in rows]
    told = [any(cell != NONE for cell in column) for column in zip(*body, strict=True)]
    header, *body = [[c for c, t in zip(row, told, strict=True) if t] for row in [header, *body]]
    numeric = [_numeric(column) for column in zip(*body, strict=True)]
    rule = ["---:" if right else ":---" for right in numeric] or ["---"] * len(header)
    lines = [header, rule, *body]
    table = "\n".join(f"| {' | '.join(line)} |" for line in lines)
    return f"{table}\n\n: {caption} {{#tbl-{label}}}\n"


def _cell(text: str) -> str:
    return re.sub(r"[ \t\n]+", " ", text).strip(" ") or NONE


NUMBER = re.compile(r"[±−\d][\d.,]*( \[.*\]| to [−\d.,]+| %)?|± [\d.]+ %|not estimable.*")


def _numeric(cells: Sequence[str]) -> bool:
    given = [cell for cell in cells if cell != NONE]
    return bool(given) and all(NUMBER.fullmatch(cell) for cell in given)


def code(text: str, shown: int | None = None) -> str:
    """Text set as code; a long digest may be cut, and then shows that it is."""
    text = text.replace("`", "'").replace("|", "/").replace("{{<", "{ {<")
    if shown and len(text) > shown:
        text = f"{text[:shown]}…"
    return f"`{text}`" if text else NONE


def plain(text: str) -> str:
    """Text from data as literal markdown: nothing in it formats, links or includes."""
    return "".join(f"\\{c}" if c in string.punctuation else c for c in text)


def metric(rows: Sequence[Row], where: str, label: str) -> str:
    """One metric: a row per point and side, a column per statistic the catalogue asks for."""
    rows = [row for row in rows if row["statistic"]]
    if not rows:
        return "Not measured.\n"
    title, unit = rows[0]["title"], rows[0]["unit"]
    statistics = [name for (name,) in distinct(rows, "statistic") if name not in ELSEWHERE]
    body = []
    for at, side in _ordered(rows):
        found = {row["statistic"]: row for row in select(rows, at=at, side=side)}
        if not any(name in found for name in statistics):
            continue
        n = next(found[name]["n"] for name in statistics if name in found)
        cells = [measured(found[name]) if name in found else NONE for name in statistics]
        verdict = "; ".join(plain(row["verdict"]) for row in found.values() if row["verdict"])
        body.append([point(at), side, *cells, _spread(found.get("boot_medians")), n, verdict])
    if not body:
        return "Every attempt failed; @sec-failures has the reasons.\n"
    names = [STATISTICS.get(name, name) for name in statistics]
    header = ["At", "Side", *names, "boot medians", "n", "Verdict"]
    caption = f"{plain(title)}. In {plain(unit)}, with 95 % intervals; {where}."
    return pipe(header, body, caption, label)


def _ordered(rows: Sequence[Row]) -> list[tuple[str, ...]]:
    """(at, side) pairs: points as the side with most of them has them, then sides in order."""
    found = distinct(rows, "at", "side")
    fullest = max(distinct(rows, "side"), key=lambda side: sum(side[0] == s for _, s in found))
    points = [at for (at,) in distinct([*select(rows, side=fullest[0]), *rows], "at")]
    order = {side: place for place, side in enumerate(SIDES)}
    return sorted(found, key=lambda pair: (points.index(pair[0]), order.get(pair[1], len(order))))


def _spread(row: Row | None) -> str:
    """Lowest and highest boot: what an interval that pools the boots does not show."""
    if row is None:
        return NONE
    low, high = float(row["low"]), float(row["high"])
    return f"{number(low, (high - low) / 10)} to {number(high, (high - low) / 10)}"


def ratio(row: Row) -> str:
    """`enclave / plain`, on one line."""
    return f"{row['numerator']}{SPACE}/{SPACE}{row['denominator']}"


def overheads(rows: Sequence[Row], where: str, label: str) -> str:
    """Ratios of sides, each naming its denominator, with what the A/A run could have seen."""
    if not rows:
        return "No two sides were measured together, so there is no ratio to print.\n"
    body = []
    for row in rows:
        compared = ratio(row)
        least = f"± {float(row['detectable']) * 100:.2g} %" if row["detectable"] else NONE
        cells = [point(row["at"]), compared, measured(row, "ratio"), row["n"]]
        body.append([*cells, least, plain(row["verdict"])])
    header = ["At", "Compared", "Ratio", "pairs", "A/A limit", "Verdict"]
    title = plain(rows[0]["title"])
    caption = f"{title}. Ratios: medians over pairs, with 95 % intervals; {where}."
    return pipe(header, body, caption, label)


def stages(rows: Sequence[Row], where: str, label: str) -> str:
    """The cold start: a row per stage, then sum, whole and residual; a column per side."""
    if not rows:
        return "Not measured.\n"
    sides = [side for (side,) in distinct(rows, "side")]
    order = {"stage": 0, "sum": 1, "whole": 2, "residual": 3}
    found = sorted(distinct(rows, "kind", "stage"), key=lambda key: order[key[0]])
    longest = max(sides, key=lambda side: len(select(rows, side=side)))
    named = [row["stage"] for row in select(rows, side=longest, kind="stage")]
    found.sort(key=lambda key: (order[key[0]], named.index(key[1]) if key[1] in named else 99))
    body = []
    for kind, stage in found:
        cells = []
        for side in sides:
            row = select(rows, side=side, kind=kind, stage=stage)
            cells.append(measured(row[0]) if row else NONE)
        words = {"sum": "**sum of the stages**", "whole": "**whole**", "residual": "**residual**"}
        body.append([words.get(kind, stage.replace("_", " ")), *cells])
    unit = rows[0]["unit"]
    title = plain(rows[0]["title"])
    caption = f"{title}. Stages in {unit}: medians over boots, with 95 % intervals; {where}."
    return pipe(["Stage", *sides], body, caption, label)
