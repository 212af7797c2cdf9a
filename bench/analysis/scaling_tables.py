"""Fits of latency against length as tables, and in words for those who cannot see a picture."""

from __future__ import annotations

from functools import partial

import pandas as pd

from bench.analysis import tables
from bench.analysis.sheets import select
from bench.analysis.tables import measured, number, plain, point

MEANING = {"a": "whatever the length", "b": "for each token", "c": "for each pair of tokens"}


def coefficients(rows: pd.DataFrame, where: str, label: str) -> str:
    """What a request takes at all, with each token, and with each pair of them."""
    rows = select(rows, kind="coefficient")
    if rows.empty:
        return ""
    columns = {
        "Side": rows["side"],
        "Fit": rows["form"].map(plain),
        "What a request takes": rows["name"] + ": " + rows["name"].map(MEANING),
        "Value": rows.apply(measured, axis=1),
        "Unit": rows["unit"].map(plain),
        "boots": rows["n"],
    }
    caption = f"Latency by the number n of tokens: a fit, with 95 % intervals over boots; {where}."
    return tables.pipe(pd.DataFrame(columns), caption, label)


def residuals(rows: pd.DataFrame, where: str, label: str) -> str:
    """What was measured, what the fit says, and what that leaves."""
    rows = select(rows, kind="residual")
    if rows.empty:
        return ""
    known = rows["status"] == "ok"
    columns = {
        "At": rows["name"].map(point),
        "Side": rows["side"],
        "Measured": rows["measured"].where(known).map(number, na_action="ignore"),
        "Fitted": rows["fitted"].where(known).map(number, na_action="ignore"),
        "Residual": rows.apply(measured, axis=1),
        "%": rows["percent"].where(known).map(partial(number, digits=2), na_action="ignore"),
    }
    caption = f"What the fit leaves, in ms, with 95 % intervals over boots; {where}."
    return tables.pipe(pd.DataFrame(columns), caption, label)


def told(rows: pd.DataFrame) -> str:
    """Every number of the picture."""
    terms = [
        f"{row['side']}, {row['name']}: {measured(row)} {row['unit']}"
        for row in select(rows, kind="coefficient").to_dict("records")
    ]
    rest = [
        f"{row['side']}, {point(row['name'])}: {number(row['percent'], digits=2)} %"
        for row in select(rows, kind="residual").to_dict("records")
    ]
    return f"Fits. {'; '.join(terms)}. Residuals. {'; '.join(rest)}."
