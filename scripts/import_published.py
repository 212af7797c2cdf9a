"""Result files that others published, with our statistics over their runs."""

import sys
from pathlib import Path

from bench.analysis import published

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

published.summarise(
    [Path(path) for path in snakemake.input.get("results", [])],
    metrics=Path(snakemake.input.catalogue),
    out=Path(snakemake.output[0]),
)
