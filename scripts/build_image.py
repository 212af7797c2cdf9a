"""The folder `enclave` as an image, and what it measures."""

import sys
from pathlib import Path

from bench.emulators.estate import Public
from bench.image import build

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

owner = Public.read(Path(snakemake.input.authority).parent).owner
build.build_image(
    Path("enclave"),
    cmdline=f"platform={snakemake.wildcards.platform} owner={owner}",
    kernel=b"no kernel boots on the platform local: the host's runs the enclave's processes\n",
    default_memory_mib=4096,
    default_cpus=2,
    image=Path(snakemake.output.image),
    measurements=Path(snakemake.output.measurements),
)
