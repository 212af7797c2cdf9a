"""The page's tables of quality: what is equal, what is right, what coarser weights lose."""

from __future__ import annotations

import math
from collections.abc import Callable

import pandas as pd

from bench.analysis.losses import METRIC as LOSS
from bench.analysis.quality import DETERMINISM, REFUSED
from bench.analysis.sheets import Summary, select
from bench.analysis.tables import NONE, SPACE, Row, measured, number, pipe, plain

FEW = 30  # texts; a mean over fewer shows only what is gross
SCOPES = {
    "one session": "in one session",
    "restarts": "across starts",
    "enclave/plain": "enclave and plain",
}
WHOLE = "starts that gave"  # what a row begins with that counts starts


def section(summary: Summary) -> str:
    """All of tier 3 that is not about time; what was not measured has no table."""
    rows = summary["quality"]
    if rows.empty:
        return "Not measured.\n"
    kind = "emulated platform" if summary.emulated else "platform"
    platform = f"{kind} {plain(' '.join(summary.context('platform')))}"
    makers: tuple[Callable[[pd.DataFrame, str, str], str], ...] = (_equal, _worth, _lost)
    parts = [
        make(own, f"{plain(str(instance))}, {platform}", f"-{number + 1}" if number else "")
        for number, (instance, own) in enumerate(rows.groupby("instance", sort=False))
        for make in makers
    ]
    return "\n".join(filter(None, parts))


def _equal(rows: pd.DataFrame, where: str, suffix: str) -> str:
    """Counts: they are exact and have no interval."""
    counted = rows[rows["equal"].notna()]
    if counted.empty:
        return ""
    keys = ["model", "quantity"]
    cells = counted.assign(cell=counted.apply(_count, axis=1))
    table = cells.pivot(index=keys, columns="compared", values="cell").reindex(columns=list(SCOPES))
    table = table.reindex(index=pd.MultiIndex.from_frame(cells[keys].drop_duplicates()))
    table = table.rename(columns=SCOPES)
    table.insert(0, "Model", [plain(model) for model, _ in table.index])
    table.insert(1, "Equal", [plain(quantity) for _, quantity in table.index])
    table["Starts"] = cells.groupby(keys)["boots"].first()
    caption = f"What is the same, byte for byte: so many of so many; {where}."
    return _said(counted) + pipe(table, caption, f"determinism{suffix}")


def _count(row: Row) -> str:
    """`1,200 of 1,200`."""
    return f"{row['equal']:,}{SPACE}of{SPACE}{row['n']:,}"


def _said(counted: pd.DataFrame) -> str:
    """In one sentence: how many of all, and what so few starts could not have shown."""
    told = select(counted, metric=DETERMINISM, status="ok")
    answers = told[~told["quantity"].str.startswith(WHOLE)]
    if answers.empty:
        return ""
    equal, n = int(answers["equal"].sum()), int(answers["n"].sum())
    text = f"**{equal:,} of {n:,} comparisons of answers found the same bytes.**"
    starts = told[told["quantity"].str.startswith(WHOLE)]
    if len(starts) and starts["low"].notna().all():
        least = starts.nsmallest(1, "n").iloc[0]
        text += (
            f" No start differed from its side's first. Where {least['n']} are compared, what makes"
            f" up to {100 - least['low']:.2g} % of starts differ could have stayed unseen (95 %)."
        )
    return f"{text}\n\n"


def _worth(rows: pd.DataFrame, where: str, suffix: str) -> str:
    """What answers are worth: a row a model and quantity, a column a side."""
    own = rows[rows["metric"].ne(LOSS) & rows["compared"].isin(["enclave", "plain"])]
    if own.empty:
        return ""
    own = own.assign(cell=own.apply(_value, axis=1))
    keys = ["model", "quantity", "unit"]
    table = own.pivot(index=keys, columns="compared", values="cell").fillna(NONE)
    table = table.reindex(index=pd.MultiIndex.from_frame(own[keys].drop_duplicates()))
    named = [_named(quantity, unit) for _, quantity, unit in table.index]
    table.insert(0, "Model", [plain(model) for model, *_ in table.index])
    table.insert(1, "Quantity", named)
    table["Texts"] = own.groupby(keys)["n"].first()
    return pipe(table, f"What answers are worth, with 95 % intervals; {where}.", f"quality{suffix}")


def _lost(rows: pd.DataFrame, where: str, suffix: str) -> str:
    """What coarser weights lose, in pairs of texts."""
    lost = select(rows, metric=LOSS)
    if lost.empty:
        return "No two precisions of the same weights were measured, so no loss can be given.\n"
    columns = {
        "Model": lost["model"].map(plain),
        "Quantity": [_named(*told) for told in zip(lost["quantity"], lost["unit"], strict=True)],
        "Compared": lost["compared"].map(plain),
        "Change": lost.apply(_value, axis=1),
        "Texts": lost["n"].map(str) + lost.apply(_few, axis=1),
    }
    caption = f"What coarser weights change, text by text, with 95 % intervals; {where}."
    return pipe(pd.DataFrame(columns), caption, f"losses{suffix}")


def _value(row: Row) -> str:
    """A value with its interval, one without, or why there is none."""
    if row["status"] == REFUSED or math.isnan(row["value"]):
        return f"{row['status']} ({plain(row['detail'])})"
    return number(row["value"], digits=5) if math.isnan(row["low"]) else measured(row)


def _few(row: Row) -> str:
    return " (few)" if int(row["n"]) < FEW else ""


def _named(quantity: str, unit: str) -> str:
    return plain(quantity) if unit == "1" else f"{plain(quantity)}, {plain(unit)}"
