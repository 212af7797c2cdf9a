"""What the page says of completeness: counts, then every row that was asked for."""

from __future__ import annotations

import pandas as pd

from bench.analysis import tables
from bench.analysis.completeness import MEASURED
from bench.analysis.sheets import Summary
from bench.analysis.tables import plain


def section(summary: Summary) -> str:
    """How many rows are measured, whole or in part, and a table for each place that asks."""
    rows = summary["completeness"]
    if rows.empty:
        return "Completeness was not checked when this page was made.\n"
    asked = [_asked(found) for _, found in rows.groupby("row", sort=False)]
    frame = pd.DataFrame(asked)
    counts = frame["State"].value_counts()
    said = ", ".join(f"{counts[state]} {state}" for state in counts.index)
    parts = [f"Of {len(frame)} rows that are asked for: {said}.\n"]
    for number, (source, found) in enumerate(frame.groupby("source", sort=False)):
        caption = f"Asked for by {source}."
        shown = found.drop(columns="source")
        parts.append(tables.pipe(shown, caption, f"completeness-{number + 1}"))
    return "\n".join(parts)


def _asked(rows: pd.DataFrame) -> dict[str, str]:
    first, measured = rows.iloc[0], rows["state"] == MEASURED
    state = "measured" if measured.all() else "in part" if measured.any() else "**missing**"
    reasons = dict.fromkeys(why for why in rows["why"] if why)
    return {
        "source": first["source"],
        "Row": first["row"],
        "Asked": plain(first["asked"]),
        "State": state,
        "By": plain("; ".join(rows.loc[measured, "title"])),
        "What is in the way": plain("; ".join(reasons)),
    }
