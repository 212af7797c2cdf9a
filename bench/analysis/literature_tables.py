"""Numbers of others, each group in a table of its own that says that nobody measured it here."""

from __future__ import annotations

import re
from pathlib import Path

import pandas as pd

from bench import tables as config
from bench.analysis import tables
from bench.analysis.tables import plain

LITERATURE = ("group", "platform", "workload", "figure", "source", "evidence", "note")
GROUPS = {
    "milestone": "What the milestone report published of its long loads.",
    "original": "What the original project published.",
    "projected": "What the specification projected, and what was measured since.",
    "literature": "What papers published.",
}

# The blank between a number and its unit, once `plain` has escaped a per cent sign.
UNIT = re.compile(r"(?<=\d) (?=\\%|ms\b|s\b|[GMk]B\b)")


def sections(path: Path) -> dict[str, str]:
    """A table for each group of config/literature.tsv."""
    rows = config.read(path, LITERATURE, key=("group", "platform", "workload", "figure", "source"))
    return {group: _section(rows, group, caption) for group, caption in GROUPS.items()}


def _section(rows: list[config.Row], group: str, caption: str) -> str:
    header = ["Platform", "Workload", "Published", "Source", "How we know", "Note"]
    body = [
        [UNIT.sub(tables.SPACE, plain(row.text(name))) for name in LITERATURE[1:]]
        for row in rows
        if row.text("group") == group
    ]
    table = pd.DataFrame(body, columns=header)
    return tables.pipe(table, f"{caption} Nothing in this table was measured here.", group)
