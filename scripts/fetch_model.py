"""A model's files, from wherever its row says; progress of what takes long, to the terminal."""

import sys
from pathlib import Path

from bench.weights import origin

sys.stdout = open(snakemake.log[0], "w", buffering=1)

origin.fetch(snakemake.params.row, Path(snakemake.output.source).parent)
