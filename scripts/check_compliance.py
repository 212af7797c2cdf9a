"""What each bundle proves, property by property."""

import sys
from pathlib import Path

from bench.analysis import compliance

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

compliance.check(
    [Path(path) for path in snakemake.input.bundles],
    authority=Path(snakemake.input.authority),
    measurements=Path(snakemake.input.measurements),
    out=Path(snakemake.output[0]),
)
