"""What all sessions of one model on one instance left behind, as one file."""

import sys
from functools import partial
from pathlib import Path

from bench.analysis import compliance
from bench.emulators import estate
from bench.image import measurements
from bench.platforms import owner

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

given = snakemake.input
of_the_owner = (
    estate.Public.read(Path(given.authority).parent),
    measurements.read(Path(given.measurements)).pcrs,
    Path(given.manifest).read_bytes(),
)
compliance.collect(
    [Path(path) for path in given.records],
    [Path(path) for path in given.evidence],
    make=partial(owner.bundle, *of_the_owner),
    out=Path(snakemake.output[0]),
)
