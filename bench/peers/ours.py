"""Our engine: the code that runs inside the enclave, with nothing around it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from bench.peers import Order, encoders
from enclave.memory import Buffer  # enclave.models before torch: it says how torch's threads wait
from enclave.models import Encoder, Model
from enclave.models.engine import ARCHITECTURES
from enclave.models.tokenizer import Tokenizer

if TYPE_CHECKING:
    from torch import Tensor


def open(order: Order) -> encoders.Encoder:  # noqa: A001
    """An encoder."""
    model, source = load(order)
    if not isinstance(model, Encoder):
        raise TypeError(f"found a model of {source['architecture']}, expected one that embeds")
    texts = Tokenizer((order.source / "tokenizer.json").read_bytes(), max_tokens=model.max_tokens)

    def forward(given: tuple[Tensor, Tensor]) -> Tensor:
        return model.embed(*given)  # (B, H)

    return encoders.Encoder(
        libraries=("torch", "tokenizers"),
        threads=order.threads,
        prepare=texts.encode,
        forward=forward,
        encode=lambda given: forward(texts.encode(given)),
        settings={"packed": model.packed, "weights": source["files"]["model.safetensors"]},
    )


def load(order: Order) -> tuple[Model, Mapping[str, Any]]:
    """The model of `source`, in whatever precision its files have, and what source.json says."""
    import torch

    torch.set_num_threads(order.threads)
    source = json.loads((order.source / "source.json").read_text())
    weights = _read(order.source / "model.safetensors")
    module = ARCHITECTURES[source["architecture"]]
    return module.load(weights.view, source["config"], release=weights.release), source


def _read(path: Path) -> Buffer:
    buffer = Buffer(path.stat().st_size)
    with path.open("rb", buffering=0) as file:
        rest = buffer.view
        while rest:
            rest = rest[file.readinto(rest) :]
    return buffer
