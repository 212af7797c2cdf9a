"""Tables: rows of the summary to pipe tables in markdown, and how a number is written.

A value stands with its interval and is written to the digits that interval supports. What could not
be estimated says so with its n; a table never shows a number that nobody measured.
"""

from __future__ import annotations

import math
import re
import string
from collections.abc import Hashable, Mapping
from typing import Any

import pandas as pd

from bench.catalogue import SIDES

Row = Mapping[Hashable, Any]

NONE = "–"
SPACE = "\u00a0"  # a number and its unit stay on one line
AXES = {name: name for name in ("tokens", "sessions", "receipts", "requests")}
SHARES = {"load": "{:g}\u00a0% of capacity", "quantile": "p{:g}"}
AXES |= {"batch": "texts", "cpus": "CPUs", "megabytes": "MB"}
AXES |= {"prompt": "prompt tokens", "new": "new tokens"}
SIZES = {"payload_bytes": "", "bucket_bytes": "buckets of "}
KIB, MIB = 1024, 1024 * 1024
STATISTICS = {"p50": "median", "boot_medians": "boot medians"}
# Statistics that the table of a metric has no column for.
ELSEWHERE = (
    *("tukey_flags", "mad_flags", "z_flags", "warmups", "median_of_medians", "failures"),
    *("recorded", "effective", "slow_start"),
)
KINDS = {
    "stage": "", "sum": "**time in stages**", "whole": "**whole**", "residual": "**residual**",
}  # fmt: skip


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
    value, edges = row[name], (row["low"], row["high"])
    if math.isnan(row["low"]):
        return number(value)
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
    if name in SIZES and value.isdigit():
        size = int(value)
        for unit, step in (("MiB", MIB), ("KiB", KIB)):
            if size >= step and size % step == 0:
                return f"{SIZES[name]}{size // step}{SPACE}{unit}"
        return f"{SIZES[name]}{size}{SPACE}B"
    if name in SHARES:
        return SHARES[name].format(100 * float(value))
    if name not in AXES:
        return plain(value.replace("_", " "))
    value = plain(value)
    return f"{value}{SPACE}{AXES[name].removesuffix('s') if value == '1' else AXES[name]}"


def pipe(table: pd.DataFrame, caption: str, label: str) -> str:
    """A pipe table with caption and label; the first column heads its rows.

    A column of numbers is set to the right; a column in which no cell says anything is left out.
    """
    body = table.map(_cell)
    body = body.loc[:, (body != NONE).any()]
    rule = ["---:" if _numeric(body[name]) else ":---" for name in body]
    lines = "\n".join(f"| {' | '.join(line)} |" for line in [body.columns, rule, *body.to_numpy()])
    return f"{lines}\n\n: {caption} {{#tbl-{label}}}\n"


def _cell(value: Any) -> str:
    text = "" if pd.isna(value) else str(value)
    return re.sub(r"[ \t\n]+", " ", text).strip(" ") or NONE


NUMBER = r"[±−\d][\d.,]*( \[.*\]| to [−\d.,]+| %)?|± [\d.]+ %|not estimable.*"


def _numeric(cells: pd.Series[str]) -> bool:
    return bool(cells[cells != NONE].str.fullmatch(NUMBER).all())


def code(text: str, shown: int | None = None) -> str:
    """Text set as code; a long digest may be cut, and then shows that it is."""
    text = text.replace("`", "'").replace("|", "/").replace("{{<", "{ {<")
    if shown and len(text) > shown:
        text = f"{text[:shown]}…"
    return f"`{text}`" if text else NONE


def plain(text: str) -> str:
    """Text from data as literal markdown: nothing in it formats, links or includes."""
    return "".join(f"\\{c}" if c in string.punctuation else c for c in text)


def metric(rows: pd.DataFrame, where: str, label: str) -> str:
    """One metric: a row per point and side, a column per statistic the catalogue asks for."""
    rows = rows[rows["statistic"] != ""]
    shown = rows[~rows["statistic"].isin(ELSEWHERE)]
    if rows.empty:
        return "Not measured.\n"
    if shown.empty:
        return "Every attempt failed; @sec-failures has the reasons.\n"
    shown = shown.assign(
        at=pd.Categorical(shown["at"], _order(rows, "at")),
        side=pd.Categorical(shown["side"], SIDES),
        cell=shown.apply(_statistic, axis=1),
    )
    table = shown.pivot(index=["at", "side"], columns="statistic", values="cell")
    table = table.sort_index()[shown["statistic"].unique()].rename(columns=STATISTICS)
    cells = shown.groupby(["at", "side"], observed=True)
    table["n"], table["Verdict"] = cells["n"].first(), cells["verdict"].agg(_words)
    table.insert(0, "At", [point(at) for at, _ in table.index])
    table.insert(1, "Side", [side for _, side in table.index])
    title, unit = map(plain, rows.iloc[0][["title", "unit"]])
    return pipe(table, f"{title}. In {unit}, with 95 % intervals; {where}.", label)


def overview(rows: pd.DataFrame, where: str, label: str) -> str:
    """Several metrics in the order of the catalogue: a row per metric, point and side."""
    shown = rows[~rows["statistic"].isin(["", "boot_medians", *ELSEWHERE])]
    if shown.empty:
        return "Not measured.\n"
    keys = ["title", "unit", "at", "side"]
    # A median is called p50 where other quantiles stand beside it.
    names = shown["statistic"].replace(STATISTICS)
    cells = shown.assign(cell=shown.apply(_statistic, axis=1), statistic=names)
    table = cells.pivot(index=keys, columns="statistic", values="cell")
    table = table.reindex(index=pd.MultiIndex.from_frame(cells[keys].drop_duplicates()))
    table = table[cells["statistic"].unique()]
    table["n"] = cells.groupby(keys)["n"].first()
    table.insert(0, "Metric", [_named(*told) for *told, _ in table.index])
    table.insert(1, "Side", [side for *_, side in table.index])
    made = pipe(table, f"Values with 95 % intervals; {where}.", label)
    return f"::: {{.overview}}\n\n{made}\n:::\n"


def _named(title: str, unit: str, at: str) -> str:
    """`Session of one request (8 tokens), ms`."""
    return f"{plain(title)}{f' ({point(at)})' if at else ''}, {plain(unit)}"


def _order(rows: pd.DataFrame, column: str) -> list[str]:
    """As the side with most values has them, then the others': a stage stands where it ran."""
    fullest = rows.groupby("side", sort=False)[column].nunique().idxmax()
    return list(pd.concat([rows.loc[rows["side"] == fullest, column], rows[column]]).unique())


def _statistic(row: Row) -> str:
    """A value; of the boots' medians the lowest and the highest, which no pooled interval shows."""
    if row["statistic"] != "boot_medians":
        return measured(row)
    low, high = row["low"], row["high"]
    return f"{number(low, (high - low) / 10)} to {number(high, (high - low) / 10)}"


def _words(verdicts: pd.Series[str]) -> str:
    return "; ".join(plain(verdict) for verdict in verdicts if verdict)


def ratio(row: Row) -> str:
    """`enclave / plain`, on one line."""
    return f"{row['numerator']}{SPACE}/{SPACE}{row['denominator']}"


def overheads(rows: pd.DataFrame, where: str, label: str) -> str:
    """Ratios of sides, each naming its denominator, with what the A/A run could have seen."""
    if rows.empty:
        return "No two sides were measured together, so there is no ratio to print.\n"
    several = rows["title"].nunique() > 1
    columns = {
        **({"Metric": rows["title"].map(plain)} if several else {}),
        "At": rows["at"].map(point),
        "Compared": rows.apply(ratio, axis=1),
        "Ratio": rows.apply(measured, axis=1, name="ratio"),
        "pairs": rows["blocks"],
        "boots": rows["boots"],
        "A/A limit": (rows["detectable"] * 100).map("± {:.2g} %".format, na_action="ignore"),
        "Verdict": rows["verdict"].map(plain),
    }
    title = "" if several else f"{plain(rows['title'].iloc[0])}. "
    caption = f"{title}Ratios: mean over boots of medians over pairs, with 95 % intervals; {where}."
    made = pipe(pd.DataFrame(columns), caption, label)
    return f"::: {{.overview}}\n\n{made}\n:::\n" if several else made


def stages(rows: pd.DataFrame, where: str, label: str) -> str:
    """The cold start: a row per stage, then sum, whole and residual; a column per side."""
    if rows.empty:
        return "Not measured.\n"
    cells = rows.assign(
        kind=pd.Categorical(rows["kind"], list(KINDS)),
        stage=pd.Categorical(rows["stage"], _order(rows, "stage")),
        cell=rows.apply(measured, axis=1),
    )
    table = cells.pivot(index=["kind", "stage"], columns="side", values="cell")
    table = table.sort_index()[rows["side"].unique()]
    names = [KINDS[kind] or stage.replace("_", " ") for kind, stage in table.index]
    table.insert(0, "Stage", names)
    title, unit = rows.iloc[0][["title", "unit"]]
    caption = f"{plain(title)}. Stages in {unit}: medians over boots, with 95 % intervals; {where}."
    return pipe(table, caption, label)
