"""The table of ratios, to a file and to the terminal."""

import sys
from pathlib import Path

from bench.analysis import ratios

terminal, sys.stdout = sys.stdout, open(snakemake.log[0], "w", buffering=1)

text = ratios.summarise(
    [Path(path) for path in snakemake.input.records],
    Path(snakemake.input.goals),
    Path(snakemake.output[0]),
)
print(text.replace("\\", ""), file=terminal)
