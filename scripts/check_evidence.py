"""From every record back to the image it was made on."""

import sys
from pathlib import Path

from bench.analysis import evidence

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

evidence.check_all(
    records=[Path(path) for path in snakemake.input.records],
    evidence=[Path(path) for path in snakemake.input.evidence],
    measurements=Path(snakemake.input.measurements),
    manifests=[Path(path) for path in snakemake.input.manifests],
    authority=Path(snakemake.input.authority),
    out=Path(snakemake.output[0]),
)
