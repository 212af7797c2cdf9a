"""A tiny model as each source would offer it, and what every source must leave behind."""

from __future__ import annotations

import json
from hashlib import sha256
from pathlib import Path

from bench.weights import CONFIG, SOURCE, TOKENIZER, WEIGHTS, deposit, seeded
from enclave.models import bert

DIMENSIONS = {
    "vocab_size": 150,
    "hidden_size": 24,
    "num_hidden_layers": 1,
    "num_attention_heads": 2,
    "intermediate_size": 32,
    "max_position_embeddings": 40,
    "max_seq_length": 32,
}
CELL = " ".join(f"{name}={value}" for name, value in DIMENSIONS.items())
FILES = {
    WEIGHTS: b"".join(seeded.weights(bert.shapes(DIMENSIONS), 7)),
    TOKENIZER: seeded.tokenizer(),
    CONFIG: json.dumps(DIMENSIONS | {"model_type": "bert"}).encode(),
}


def digest(name: str) -> str:
    return sha256(FILES[name]).hexdigest()


def row(source: str, /, **cells: str) -> dict[str, str]:
    return {
        "model": "tiny",
        "version": "3",
        "architecture": "bert",
        "source": source,
        "locator": "-",
        "sha256": digest(WEIGHTS),
        "seed": "-",
        "config": "-",
        "precision": "fp32",
        "title": "Tiny",
        "license": "Apache-2.0",
    } | cells


def seeded_row(**cells: str) -> dict[str, str]:
    return row("seeded", **{"seed": "7", "config": CELL, "sha256": "-"} | cells)


def names(folder: Path) -> set[str]:
    return {path.name for path in folder.iterdir()} if folder.exists() else set()


def assert_complete(folder: Path, source: str) -> deposit.Deposit:
    """The three files, nothing else, each as source.json says."""
    assert names(folder) == {WEIGHTS, TOKENIZER, SOURCE}
    found = deposit.read(folder)
    for name in (WEIGHTS, TOKENIZER):
        data = (folder / name).read_bytes()
        assert found.files[name] == deposit.Digest(sha256(data).hexdigest(), len(data))
    assert (found.model, found.version, found.architecture) == ("tiny", "3", "bert")
    assert (found.source, found.license) == (source, "Apache-2.0")
    assert {name: found.config[name] for name in DIMENSIONS} == DIMENSIONS
    bert.load(bytearray((folder / WEIGHTS).read_bytes()), found.config)
    return found
