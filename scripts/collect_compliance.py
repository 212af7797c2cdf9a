"""What all sessions of one model on one instance left behind, as one file."""

import sys
from pathlib import Path

from bench.analysis import compliance
from bench.emulators.estate import key_policy
from bench.emulators.keyring import OWNER
from bench.image import measurements

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

given = snakemake.input
compliance.collect(
    [Path(path) for path in given.records],
    [Path(path) for path in given.evidence],
    authority=Path(given.authority),
    measurements=Path(given.measurements),
    manifest=Path(given.manifest),
    key_policy=key_policy(measurements.read(Path(given.measurements)).pcrs),
    sealers=[OWNER],
    out=Path(snakemake.output[0]),
)
