"""One repetition of one tier: progress to the terminal, what servers say to the log's folder."""

import os
import sys
from pathlib import Path

from bench import measure
from bench.emulators import process
from bench.platforms import Shape, local
from bench.probes import Workload

sys.stdout = open(snakemake.log[0], "w", buffering=1)
process.tie_to(int(os.environ["CONFBENCH_CONTROLLER"]))

given, asked = snakemake.input, snakemake.params
logs = Path(snakemake.log[0]).with_suffix("")
names = {"source": given.source, "sealed": given.sealed, "state": given.authority}
folders = {name: Path(path).parent for name, path in names.items()}
files = local.Files(Path(given.image), Path(given.measurements), logs=logs, **folders)
job = measure.Job(
    **asked.job,
    repetitions=snakemake.config["repetitions"],
    probes=list(dict.fromkeys(metric["probe"] for metric in asked.metrics)),
    workload=Workload(**asked.workload),
    records=Path(snakemake.output.records),
    evidence=Path(snakemake.output.evidence),
)
with local.lease(files, Shape(**asked.shape), **asked.lease) as machine:
    measure.tier(machine, job)
