"""Models of any size, made and sealed on the spot: a ladder to find what an enclave's memory holds.

A rung is a number of layers of one shape with seeded weights. What is asked of it is only that it
loads and answers once, as every start of an enclave ends.
"""

from __future__ import annotations

import secrets
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.platforms import DataKey
from bench.weights import seal, seeded
from enclave.wire.manifest import Manifest, verify_manifest

# 48 MiB a layer; embeddings and tokenizer weigh next to nothing.
SHAPE = "hidden_size=1024 num_attention_heads=16 intermediate_size=4096"
REST = "vocab_size=300 max_position_embeddings=256"
MODEL, VERSION = "ladder", "1"


def make(
    layers: int,
    folder: Path,
    data_key: Callable[[Mapping[str, str]], DataKey],
    owner: Ed25519PrivateKey,
) -> tuple[Manifest, bytes]:
    """Seal a model of so many layers into `folder`; its manifest, and the digest of that."""
    source = folder / "source"
    seeded.fetch(_row(layers), source)
    key = data_key(seal.context(MODEL, VERSION))
    seal.seal(
        source,
        folder,
        data_key=key.plaintext,
        wrapped_key=key.wrapped,
        key_arn=key.arn,
        owner=owner,
        nonce_prefix=secrets.token_bytes(7),
    )
    shutil.rmtree(source)
    return verify_manifest((folder / "manifest.cose").read_bytes(), owner.public_key())


def _row(layers: int) -> dict[str, str]:
    return {
        "model": MODEL,
        "version": VERSION,
        "architecture": "bert",
        "source": "seeded",
        "locator": "-",
        "sha256": "-",
        "seed": "1",
        "config": f"{SHAPE} num_hidden_layers={layers} {REST}",
        "precision": "fp32",
        "title": f"{layers} layers",
        "license": "-",
    }
