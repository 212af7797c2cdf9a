"""Have a model's weights converted, in the peers' environment."""

from __future__ import annotations

import json
import os
import random
import subprocess
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from bench import files
from bench.probes import inputs

REPOSITORY = Path(__file__).parents[2]
# By architecture.
EXPORTS = {
    "bert": "bench.peers.export",
    "distilbert": "bench.peers.export",
    "llama": "bench.peers.gguf",
}
CALIBRATION_TEXTS = 64
CALIBRATION_TOKENS = (8, 32, 128)


def run(python: Path, *, source: Path, folder: Path, seed: int, log: TextIO) -> None:
    """Write what the architecture's module lists into `folder`; formats.json last."""
    told = json.loads((source / "source.json").read_text())
    texts = folder / "calibration.json"
    files.replace(texts, json.dumps(calibration(source, told["config"], seed)).encode())
    given = [str(path.absolute()) for path in (source, folder, texts)]
    subprocess.run(
        [str(python.absolute()), "-m", EXPORTS[told["architecture"]], *given],
        cwd=REPOSITORY,
        env={**os.environ, "PYTHONPATH": str(REPOSITORY), "HF_HUB_OFFLINE": "1"},
        stdout=log,
        stderr=log,
        check=True,
    )


def calibration(source: Path, config: Mapping[str, Any], seed: int) -> list[str]:
    """Texts under a seed of their own: none is measured on."""
    chance = random.Random(f"calibration {seed}")
    tokenizer = inputs.tokenizer(source / "tokenizer.json")
    sizes = [tokens for tokens in CALIBRATION_TOKENS if tokens <= config["max_seq_length"]]
    return [
        inputs.exactly(tokenizer, chance.choice(sizes), chance) for _ in range(CALIBRATION_TEXTS)
    ]
