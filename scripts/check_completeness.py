"""What the specification asks for, row by row, and what of it this run has."""

import sys
from pathlib import Path

from bench.analysis import completeness

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

completeness.check(
    Path(snakemake.input.specification),
    Path(snakemake.input.catalogue),
    Path(snakemake.input.models),
    Path(snakemake.output[0]).parent,
)
