"""Market: what is sold and what was measured, side by side, for whoever works out a cost.

A `Place` is one model on one instance with its rows of the summary; a row of a result is a map of
fields. What cannot be had is a row with a status and a reason, never a number.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from bench.analysis import gpu, sheets
from bench.analysis.cost import Bought, Range
from bench.analysis.facts import ABSENT, OK, SMALL
from bench.analysis.sheets import select
from bench.prices import Price, Snapshot

Row = dict[str, Any]

MIDDLE = ("median", "p50")
COMPARED = "enclave/plain"


@dataclass(frozen=True, slots=True)
class Workload:
    """What a kind of model is paid for: the metric of its rate, how many units, what they are."""

    metric: str
    rate: str
    units: float
    demand: str


WORKLOADS = {
    "encoder": Workload("cost_per_1k_inferences", "throughput", 1e3, "req/h"),
    "generator": Workload("cost_per_1m_tokens", "token_rate", 1e6, "tokens/h"),
}


@dataclass(frozen=True, slots=True)
class Market:
    """Prices, how busy what is paid for is (fractions of its rate), and what GPUs do."""

    snapshot: Snapshot
    utilisation: Sequence[float]
    figures: Sequence[gpu.Figure]

    @property
    def busiest(self) -> float:
        """The utilisation that headline costs are given at."""
        return max(self.utilisation)

    @property
    def gpus(self) -> list[Price]:
        """Every price of a machine with a confidential GPU."""
        return [price for price in self.snapshot.prices if price.gpu]


@dataclass(frozen=True, slots=True)
class Place:
    """One model on one instance; `missing` says why it has no price, where it has none."""

    head: Row
    workload: Workload
    bought: Bought
    prices: Sequence[Price]
    missing: str
    metrics: pd.DataFrame
    overhead: pd.DataFrame

    def rates(self, side: str) -> list[Row]:
        """Medians of the rate at every point of its axes."""
        found = select(self.metrics, metric=self.workload.rate, side=side)
        return _rows(found[found["statistic"].isin(MIDDLE)])

    def ratios(self, *metrics: str) -> list[Row]:
        """enclave / plain of these metrics, at every point."""
        numerator, denominator = COMPARED.split("/")
        found = select(self.overhead, numerator=numerator, denominator=denominator)
        return _rows(found[found["metric"].isin(metrics)])

    @property
    def headline(self) -> str:
        """The point with most sessions (or whatever is swept): chosen without a look at values."""
        return max((row["at"] for row in self.rates("enclave")), key=_numbers, default="")

    def priced(self, price: Price, **fields: Any) -> Row:
        """The fields of a row whose cost is made from one price."""
        told = {"price_class": price.price_class, "usd_per_hour": price.usd_per_hour}
        return self.head | told | fields


def places(
    summary: Path,
    market: Market,
    bought: Mapping[str, Mapping[str, Any]],
    kinds: Mapping[str, str],
) -> Iterator[Place]:
    """Every model on every instance of a summary's folder, in its order."""
    metrics, overhead = (sheets.read(summary, name) for name in ("metrics", "overhead"))
    names = ["platform", "instance", "model"]
    for where in metrics[names].drop_duplicates().itertuples(index=False, name=None):
        head: Row = dict(zip(names, where, strict=True))
        paid = bought.get(head["instance"], {})
        offers = market.snapshot.of(str(paid.get("priced_as", "")))
        missing = "" if offers else f"the snapshot has no price of {paid.get('priced_as')}"
        yield Place(
            head=head | {name: paid.get(name) for name in ("priced_as", "hypothetical")},
            workload=WORKLOADS[kinds[head["model"]]],
            bought=Bought(*(paid.get(n, 1) for n in ("vcpus", "server_vcpus", "enclaves"))),
            prices=offers,
            missing=missing if paid else "config/instances.tsv names no price (priced_as)",
            metrics=select(metrics, **head),
            overhead=select(overhead, **head),
        )


def carried(row: Row, through: Callable[[Range], Range], name: str = "value") -> Row:
    """Value and interval of a row carried through a formula, or why there is none."""
    counts = {field: row[field] for field in ("n", "need")}
    if row["status"] != OK:
        return counts | {"status": row["status"], "detail": row["detail"]}
    try:
        found = through(Range(float(row[name]), _end(row["low"]), _end(row["high"])))
    except ValueError as error:
        return counts | {"status": SMALL, "detail": str(error)}
    told = {"value": found.value, "low": found.low, "high": found.high}
    return counts | told | {"status": OK, "detail": ""}


def absent(reason: str) -> Row:
    """A row's last fields where there is no number."""
    return {"status": ABSENT, "detail": reason}


def _end(value: float | None) -> float | None:
    return None if value is None or math.isnan(value) else value


def _rows(found: pd.DataFrame) -> list[Row]:
    return [{str(name): row[name] for name in row} for row in found.to_dict("records")]


def _numbers(at: str) -> list[float]:
    return [float(number) for number in re.findall(r"=([\d.]+)", at)]
