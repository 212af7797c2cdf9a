"""Rates and ratios of the summary, priced."""

import sys
from pathlib import Path

from bench.analysis import costing

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

given, asked = snakemake.input, snakemake.params
costing.calculate(
    Path(given.metrics).parent,
    metrics=Path(given.catalogue),
    snapshot=Path(given.prices),
    figures=Path(given.gpu),
    bought=asked.bought,
    kinds=asked.kinds,
    utilisation=asked.utilisation,
    out=Path(snakemake.output.cost).parent,
)
