"""Where a model's weights come from: one module per kind of source, the `source` of a model's row.

A row is a line of config/models.tsv: model, version, architecture, source, locator, sha256, seed,
config, precision, title, license. Whatever the source, a folder with the same three files comes out
of it.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Protocol

Row = Mapping[str, str]

WEIGHTS = "model.safetensors"
TOKENIZER = "tokenizer.json"
CONFIG = "config.json"
SOURCE = "source.json"


class Source(Protocol):
    """A module of this folder."""

    def fetch(self, row: Row, folder: Path, /) -> None:
        """Write model.safetensors, tokenizer.json and, last, source.json into `folder`.

        Each appears under its name only when whole and checked; SourceError otherwise.
        """


class SourceError(Exception):
    """A model cannot be had as its row says: fix the row, the machine or the network."""

    def __init__(
        self, row: Row, field: str, *, found: object, expected: object, hint: str = ""
    ) -> None:
        text = f"model {row.get('model', '?')}, {field}: found {found}, expected {expected}"
        super().__init__(f"{text}\nhint: {hint}" if hint else text)
