"""Statistics of all records, one row for one printed fact."""

import sys
from pathlib import Path

from bench.analysis import summary

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

summary.summarise(
    [Path(path) for path in snakemake.input.records],
    metrics=Path(snakemake.input.catalogue),
    verdicts=Path(snakemake.input.verdicts),
    out=Path(snakemake.output.metrics).parent,
    models=Path(snakemake.input.models),
)
