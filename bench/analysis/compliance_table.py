"""What the page says of security properties: how many hold, each with its check, and what is open.

Digests are cut to be read; the whole ones stand in compliance.csv.
"""

from __future__ import annotations

import re

import pandas as pd

from bench.analysis import tables
from bench.analysis.sheets import Summary
from bench.analysis.tables import code, plain

PROVEN, FAILED, OPEN = "proven", "failed", "not proven"
SHOWN = 12  # digits of a digest
LONG = re.compile(r"\b[0-9a-f]{40,}\b")
ARN = re.compile(r"\barn:aws\S*")


def section(summary: Summary) -> str:
    """For every bundle: the counts in a sentence, the checked rows, the open ones with reasons."""
    rows = summary["compliance"]
    if rows.empty:
        return "No compliance bundle was checked when this page was made.\n"
    groups = rows.groupby(["instance", "model", "bundle"], sort=False)
    parts = [
        _bundle(summary, found, f"-{number + 1}" if number else "")
        for number, (_, found) in enumerate(groups)
    ]
    return "\n".join(parts)


def _bundle(summary: Summary, rows: pd.DataFrame, suffix: str) -> str:
    first = rows.iloc[0]
    where = summary.where(first["instance"], first["model"])
    parts = [_counts(rows, where)]
    failed = rows[rows["result"] == FAILED]
    if len(failed):
        names = ", ".join(failed["property"].map(plain))
        title = "Security properties failed"
        parts.append(f'::: {{.callout-important title="{title}"}}\n{names}.\n:::\n')
    checked, rest = rows[rows["result"] != OPEN], rows[rows["result"] == OPEN]
    if len(checked):
        parts.append(_checked(checked, where, suffix))
    if len(rest):
        parts.append(_open(rest, where, suffix))
    parts.append(_command(first["bundle"], " ".join(summary.context("platform"))))
    return "\n".join(parts)


def _counts(rows: pd.DataFrame, where: str) -> str:
    counts = {result: int((rows["result"] == result).sum()) for result in (PROVEN, FAILED, OPEN)}
    emulated = int(((rows["result"] == PROVEN) & (rows["emulated"] == "True")).sum())
    said = f"Of {len(rows)} security properties **{counts[PROVEN]} are proven**"
    if emulated:
        said += f" ({emulated} of them on the word of an emulator)"
    return f"{said}, {counts[FAILED]} failed and {counts[OPEN]} are not proven; {where}.\n"


def _checked(rows: pd.DataFrame, where: str, suffix: str) -> str:
    columns = {
        "Property": rows["property"].map(plain),
        "Result": rows.apply(_result, axis=1),
        "Looked at": rows.apply(_evidence, axis=1),
        "How": rows["how"].map(plain),
    }
    caption = f"Security properties, each by a check that can fail; {where}."
    return tables.pipe(pd.DataFrame(columns), caption, f"compliance{suffix}")


def _open(rows: pd.DataFrame, where: str, suffix: str) -> str:
    columns = {"Not proven": rows["property"].map(plain), "Why": rows["detail"].map(plain)}
    caption = f"What is not proven, and why; {where}."
    return tables.pipe(pd.DataFrame(columns), caption, f"compliance-open{suffix}")


def _result(row: pd.Series[str]) -> str:
    if row["result"] == FAILED:
        return f"**{FAILED}**"
    return f"{PROVEN}, emulated" if row["emulated"] == "True" else PROVEN


def _evidence(row: pd.Series[str]) -> str:
    """How many of what; or what was found where something else had to be."""
    text = (
        row["detail"] if row["result"] == FAILED else f"{int(row['checked']):,} {row['evidence']}"
    )
    pieces = re.split(f"({LONG.pattern}|{ARN.pattern})", text)
    return "".join(
        code(piece, SHOWN) if LONG.fullmatch(piece) or ARN.fullmatch(piece) else plain(piece)
        for piece in pieces
    )


def _command(bundle: str, platform: str) -> str:
    """How a reviewer judges the bundle, naming whom to trust."""
    return f"""\
All that these rows were judged by is one file, which can be judged without the others. Whose root,
owner and image they should be is for the reviewer to say:

```
python -m bench.verify {bundle} \\
    --authority results/emulators/public.json \\
    --measurements results/images/{platform}/measurements.json
```
"""
