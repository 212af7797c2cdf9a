"""What the emulated parties own, made once."""

import sys
from datetime import UTC, datetime
from pathlib import Path

from bench.emulators import estate

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)

estate.provision(Path(snakemake.output.authority).parent, datetime.now(UTC))
