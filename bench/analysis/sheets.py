"""Sheets: the CSV files of a summary, as frames, written and read.

What has no value is an empty field in a file. In a frame it is NaN where a column holds numbers,
and empty text everywhere else.
"""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pandas as pd

from bench import files
from bench.analysis import noise, overhead
from bench.analysis.tables import plain

WHERE = ("platform", "instance", "model", "tier")
NAMED = (*WHERE, "metric", "title", "unit", "better")
INTERVAL = ("low", "high", "n", "need")
JUDGED = ("status", "detail", "verdict", "meaning")
COLUMNS = {
    "metrics": (
        *NAMED, "side", "at", "statistic", "value", *INTERVAL, "repetitions", "boots", *JUDGED,
    ),
    "overhead": (
        *NAMED, "at", "numerator", "denominator", "ratio", *INTERVAL, "repetitions", "boots",
        "blocks", "incomplete", "of_medians", "detectable", "block_spread", "boot_spread",
        "repetition_spread", "boots_needed", *JUDGED,
    ),
    "stages": (
        *NAMED, "side", "order", "stage", "kind", "start", "value", *INTERVAL, "status", "detail",
    ),
    "quality": (
        *WHERE, "metric", "quantity", "compared", "unit", "value", "low", "high", "equal", "n",
        "boots", "status", "detail",
    ),
    "scaling": (
        *NAMED, "side", "form", "kind", "name", "value", *INTERVAL, "measured", "fitted", "percent",
        "status", "detail",
    ),
    "timeline": (*NAMED, "side", "at", "repetition", "boot", "number", "value"),
    "distribution": (*NAMED, "side", "at", "n", "p", "value"),
    "context": (*WHERE, "repetition", "field", "value"),
    "parity": (*WHERE, "repetition", "boot", "field", *overhead.LEDGER, "equal"),
}  # fmt: skip

# What is made from the summary and from what others published: by rules of their own.
PAID = ("price_class", "utilisation", "usd_per_hour", "priced_as", "hypothetical")
COSTS = {
    "cost": (
        *NAMED[:-1], "side", "of", "at", "basis", *PAID, "gpu", "gpu_class", "value", *INTERVAL,
        "status", "detail",
    ),
    "crossover": (
        *NAMED[:-1], "side", "kind", "of", "at", *PAID, "rate", "rate_low", "rate_high", "gpu",
        "gpu_class", "gpu_usd_per_hour", "gpu_rate", "gpu_usd", "value", *INTERVAL, "status",
        "detail", "source",
    ),
    "published": (
        "platform", "campaign", "hardware", "model", "metric", "title", "unit", "side", "at",
        "statistic", "value", "low", "high", "runs", "status", "detail", "evidence",
    ),
    "gpus": (
        "gpu", "instance", "model", "batch", "input_tokens", "output_tokens", "usd_per_hour",
        "usd_per_1m", "counted", "usd_per_1m_output", "tokens_per_s", "loss", "source", "evidence",
    ),
    "prices": (
        "snapshot", "sha256", "kind", "provider", "region", "instance", "price_class",
        "usd_per_hour", "gpu", "source", "as_of", "note",
    ),
}  # fmt: skip

# Every other column is text, as is all that was copied from records (context, parity, evidence).
CHECKED = ("evidence", "compliance", "completeness")
COPIED = ("context", "parity", *CHECKED)
NUMBERS = (
    dict.fromkeys(("n", "equal"), "Int64")
    | dict.fromkeys(
        (
            "value",
            "low",
            "high",
            "start",
            "p",
            "ratio",
            "of_medians",
            "detectable",
            "utilisation",
            "measured",
            "fitted",
            "percent",
        ),
        "float64",
    )
    | dict.fromkeys(
        (
            "block_spread",
            "boot_spread",
            "repetition_spread",
            "usd_per_hour",
            "rate",
            "rate_low",
            "rate_high",
            "gpu_usd_per_hour",
            "gpu_rate",
            "gpu_usd",
            "usd_per_1m",
            "usd_per_1m_output",
            "tokens_per_s",
            "loss",
        ),
        "float64",
    )
)


def write(path: Path, table: pd.DataFrame) -> None:
    """Write one CSV file in one step."""
    files.replace(path, table.to_csv(index=False, lineterminator="\n").encode())


def read(folder: Path, name: str) -> pd.DataFrame:
    """One CSV file of a summary; an absent file has no rows."""
    path = folder / f"{name}.csv"
    if not path.is_file():
        return pd.DataFrame(columns=list((COLUMNS | COSTS).get(name, ())), dtype=str)
    numbers = {} if name in COPIED else NUMBERS
    return pd.read_csv(
        path, lineterminator="\n", dtype=defaultdict(lambda: "str", numbers),
        keep_default_na=False, na_values={column: [""] for column in numbers},
        float_precision="round_trip",
    )  # fmt: skip


def select(table: pd.DataFrame, **wanted: str) -> pd.DataFrame:
    """Rows whose fields have exactly these values."""
    return table[(table[list(wanted)] == pd.Series(wanted)).all(axis=1)]


@dataclass(frozen=True, slots=True)
class Summary:
    """The frames of a summary by name, and what they are about."""

    tables: Mapping[str, pd.DataFrame]

    @classmethod
    def read(cls, folder: Path) -> Summary:
        """Read a summary's folder; what is CHECKED may be absent."""
        return cls({name: read(folder, name) for name in (*COLUMNS, *COSTS, *CHECKED)})

    def __getitem__(self, name: str) -> pd.DataFrame:
        return self.tables[name]

    def context(self, field: str) -> list[str]:
        """Distinct values of one context field, in order; `*` in it stands for any one part."""
        context, pattern = self["context"], re.escape(field).replace(r"\*", "[^.]*")
        return list(context.loc[context["field"].str.fullmatch(pattern), "value"].unique())

    @property
    def emulated(self) -> bool:
        """True unless every record says that nothing was emulated."""
        return self.context("emulated") != ["false"]

    def groups(self) -> list[tuple[str, str]]:
        """(instance, model) pairs, in order."""
        pairs = self["context"][["instance", "model"]].drop_duplicates()
        return list(pairs.itertuples(index=False, name=None))

    def where(self, instance: str, model: str) -> str:
        """`minilm on laptop, emulated platform local`, and how many of its boots were noisy."""
        platform = " ".join(self.context("platform"))
        kind = "emulated platform" if self.emulated else "platform"
        loud = noise.counted(self["context"], instance, model)
        where = f"{plain(model)} on {plain(instance)}, {kind} {plain(platform)}"
        return f"{where}, **{loud}**" if loud else where
