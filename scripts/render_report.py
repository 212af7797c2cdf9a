"""The page, by Quarto where there is one."""

import shutil
import sys
from pathlib import Path

from bench.analysis import render

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

out = Path(snakemake.output[0])
render.render(
    summary=Path(snakemake.input.evidence).parent,
    report=Path("report"),
    literature=Path(snakemake.input.literature),
    build=out.parent / "build",
    out=out,
    quarto=shutil.which("quarto"),
)
