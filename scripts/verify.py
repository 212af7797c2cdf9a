"""The same walk as check_evidence, of the files as they lie here; says what held."""

import sys
from pathlib import Path

from bench.analysis import evidence

sys.stderr = open(snakemake.log[0], "w", buffering=1)

checked = evidence.check_all(
    records=[Path(path) for path in snakemake.params.records],
    evidence=[Path(path) for path in snakemake.params.evidence],
    measurements=Path(snakemake.params.measurements),
    manifests=[Path(path) for path in snakemake.params.manifests],
    authority=Path(snakemake.params.authority),
)
for row in checked:
    print(f"verified {row.record}: {row.receipts} receipts, {row.statements} signed statements")
