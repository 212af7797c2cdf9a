"""A model under a fresh data key that only the measured image is given."""

import os
import secrets
import sys
from pathlib import Path

from bench.emulators import estate, process
from bench.platforms import owner
from bench.weights import seal

sys.stdout = sys.stderr = open(snakemake.log[0], "w", buffering=1)
process.tie_to(int(os.environ["CONFBENCH_CONTROLLER"]))

state = Path(snakemake.input.authority).parent
context = seal.context(snakemake.params.row["model"], snakemake.params.row["version"])
key = owner.data_key(state, context)
seal.seal(
    source=Path(snakemake.input.source).parent,
    folder=Path(snakemake.output.manifest).parent,
    data_key=key.plaintext,
    wrapped_key=key.wrapped,
    key_arn=key.arn,
    owner=estate.owner(state),
    nonce_prefix=secrets.token_bytes(7),
)
