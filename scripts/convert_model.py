"""One model's weights in the formats that peers read, made in the peers' environment."""

import sys
from pathlib import Path

from bench.peers import convert

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

convert.run(
    Path(snakemake.params.python),
    source=Path(snakemake.input.source).parent,
    folder=Path(snakemake.output[0]).parent,
    seed=snakemake.params.seed,
    log=sys.stdout,
)
