"""Rooflines: the least time that a model can take, from its dimensions and two measured rates.

Williams, Waterman and Patterson, Roofline, CACM 52 (2009): the longer of operations over the
fastest product and bytes over the fastest read, both taken on the same CPUs moments before or after
what they are compared with.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import pandas as pd

SIDE = "roofline"
RATES = {"operations": "operations_rate", "bytes": "read_rate"}
WEIGHT_BYTES = {"fp32": 4, "int8": 1}
# Hidden size, layers and width of the feed-forward part, as BERT's and DistilBERT's configurations
# call them.
NAMES = (
    ("hidden_size", "num_hidden_layers", "intermediate_size"),
    ("dim", "n_layers", "hidden_dim"),
)


@dataclass(frozen=True, slots=True)
class Work:
    """What one forward pass of an encoder cannot do without."""

    operations: float
    bytes: float


def work(dimensions: Mapping[str, Any], tokens: int, batch: int, precision: str) -> Work:
    """Of a BERT encoder (Devlin et al. 2019, appendix A.2): its linear layers and its attention.

    A multiplication with its addition counts as two operations. Weights are read once a pass;
    embeddings looked up and activations, which caches hold, count nothing.
    """
    names = next(names for names in NAMES if names[0] in dimensions)
    hidden, layers, wide = (dimensions[name] for name in names)
    weights = layers * (4 * hidden**2 + 2 * hidden * wide)
    attention = layers * 2 * hidden * tokens  # per token: scores, and what they weigh
    operations = 2 * batch * tokens * (weights + attention)
    return Work(float(operations), float(weights * WEIGHT_BYTES[precision]))


def floors(
    samples: pd.DataFrame, dimensions: Mapping[str, Any], metric: str, unit_per_s: float
) -> pd.DataFrame:
    """Rows of `metric` for every pair of rates a roofline side measured, in their place and order.

    samples: repetition, boot, block, iteration, side, metric, at, value (rates in 10^9 per second).
    """
    keys = ["repetition", "boot", "block", "iteration", "side", "at"]
    rates = samples[samples["metric"].isin(RATES.values())]
    if rates.empty:
        return samples.iloc[:0]
    rates = rates.pivot(index=keys, columns="metric", values="value").reset_index()
    values = [_floor_s(row, dimensions) * unit_per_s for row in rates.to_dict("records")]
    return rates[keys].assign(metric=metric, value=values)


def _floor_s(row: Mapping[Any, Any], dimensions: Mapping[str, Any]) -> float:
    at, precision = dict(row["at"]), str(row["side"]).rpartition("-")[2]
    needed = work(dimensions, at["tokens"], at.get("batch", 1), precision)
    rates = {name: row[RATES[name]] * 1e9 for name in RATES}
    floor_s: float = max(needed.operations / rates["operations"], needed.bytes / rates["bytes"])
    return floor_s
