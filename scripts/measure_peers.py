"""One repetition of ours beside peers: progress to the terminal, what engines say to logs."""

import os
import sys
from pathlib import Path

from bench.emulators import process
from bench.peers import measure

sys.stdout = open(snakemake.log[0], "w", buffering=1)
process.tie_to(int(os.environ["CONFBENCH_CONTROLLER"]))

asked, where = snakemake.params, snakemake.wildcards
job = measure.Job(
    **asked.workload,
    **{name: where[name] for name in ("probe", "instance", "model")},
    repetition=int(where.rep),
    cpus=asked.cpus,
    asked=asked.asked,
)
places = measure.Places(
    sources={side: Path(path) for side, path in asked.sources.items()},
    formats=Path(snakemake.input.formats).parent,
    python=Path(asked.python),
    records=Path(snakemake.output[0]),
    logs=Path(snakemake.log[0]).with_suffix(""),
)
measure.run(job, places)
