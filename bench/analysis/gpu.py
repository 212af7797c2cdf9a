"""GPUs: confidential ones as others measured them, from config/gpu.tsv.

What was published is a cost; here it becomes a rate of output tokens, to be priced anew.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from bench import tables
from bench.analysis import cost

COLUMNS = (
    *("gpu", "instance", "model", "batch", "input_tokens", "output_tokens", "usd_per_hour"),
    *("usd_per_1m", "usd_per_1m_unprotected", "counted", "source", "evidence"),
)
COUNTED = ("input", "output")
MILLION = 1e6


@dataclass(frozen=True, slots=True)
class Figure:
    """One published cost of 1,000,000 tokens on a confidential GPU, and without the protection."""

    gpu: str
    instance: str
    model: str
    batch: int
    input_tokens: int
    output_tokens: int
    usd_per_hour: float
    usd_per_1m: float
    usd_per_1m_unprotected: float
    counted: str
    source: str
    evidence: str

    @property
    def tokens_per_s(self) -> float:
        """Output tokens per second of all sequences of a batch, prefill included."""
        counted = cost.rate_of(self.usd_per_hour, self.usd_per_1m, MILLION)
        answered = self.output_tokens / self.input_tokens
        return counted * (answered if self.counted == "input" else 1)

    @property
    def loss(self) -> float:
        """The share of its throughput that protection takes: the price cancels out."""
        return 1 - self.usd_per_1m_unprotected / self.usd_per_1m

    def usd_per_1m_output(self, usd_per_hour: float) -> float:
        """USD for 1,000,000 output tokens at another price of the machine."""
        return usd_per_hour * MILLION / (cost.SECONDS * self.tokens_per_s)


def read(path: Path) -> list[Figure]:
    """Rows of config/gpu.tsv; ConfigError names the cell that is wrong."""
    keys = ("gpu", "instance", "model", "batch", "input_tokens", "output_tokens")
    return [_figure(row) for row in tables.read(path, COLUMNS, key=keys)]


def _figure(row: tables.Row) -> Figure:
    words = {name: row.given(name) for name in ("gpu", "instance", "model", "source", "evidence")}
    return Figure(
        **words,
        batch=row.integer("batch", least=1),
        input_tokens=row.integer("input_tokens", least=1),
        output_tokens=row.integer("output_tokens", least=1),
        usd_per_hour=_positive(row, "usd_per_hour"),
        usd_per_1m=_positive(row, "usd_per_1m"),
        usd_per_1m_unprotected=_positive(row, "usd_per_1m_unprotected"),
        counted=row.one_of("counted", COUNTED),
    )


def _positive(row: tables.Row, column: str) -> float:
    try:
        value = float(row.given(column))
    except ValueError:
        value = 0.0
    if not 0 < value < float("inf"):
        raise row.error(column, expected="a number above 0")
    return value
