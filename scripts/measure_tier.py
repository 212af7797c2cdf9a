"""One repetition of one tier: progress to the terminal, what servers say to the log's folder."""

import os
import sys
from pathlib import Path

from bench import context, measure
from bench.emulators import process
from bench.platforms import Shape, local
from bench.probes import Workload

sys.stdout = open(snakemake.log[0], "w", buffering=1)
process.tie_to(int(os.environ["CONFBENCH_CONTROLLER"]))

given, asked = snakemake.input, snakemake.params
names = {"source": given.source, "sealed": given.sealed, "state": given.authority}
folders = {name: Path(path).parent for name, path in names.items()}
folders["logs"] = Path(snakemake.log[0]).with_suffix("")
files = local.Files(Path(given.image), Path(given.measurements), **folders)
job = measure.Job(
    **asked.job,
    repetitions=snakemake.config["repetitions"],
    code=context.code(Path(path) for path in given.code),
    probes=list(dict.fromkeys(metric["probe"] for metric in asked.metrics)),
    workload=Workload(**asked.workload),
    **{name: Path(path) for name, path in snakemake.output.items()},
)
with local.lease(files, Shape(**asked.shape), **asked.lease) as machine:
    measure.tier(machine, job)
