"""Encoders small enough to compute twice."""

from __future__ import annotations

import base64
import json
from collections.abc import Mapping
from types import ModuleType

import torch
from torch import Tensor

from bench.weights import seeded
from enclave.models import bert, distilbert, safetensors
from enclave.models.encoder import Embedder

TINY: dict[str, object] = {
    "vocab_size": 90,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "max_position_embeddings": 40,
    "max_seq_length": 32,
}
TINY_DISTILBERT: dict[str, object] = {
    "vocab_size": 90,
    "dim": 48,
    "n_layers": 2,
    "n_heads": 4,
    "hidden_dim": 80,
    "max_position_embeddings": 40,
    "max_seq_length": 32,
}
ENCODERS: dict[str, tuple[ModuleType, dict[str, object]]] = {
    "bert": (bert, TINY),
    "distilbert": (distilbert, TINY_DISTILBERT),
    "distilbert-classifier": (distilbert, TINY_DISTILBERT | {"num_labels": 3}),
}


def tiny_file(kind: str = "bert", seed: int = 1) -> bytearray:
    """A file of that encoder's shapes in which every value differs, norms and biases too."""
    module, dimensions = ENCODERS[kind]
    data = bytearray(b"".join(seeded.weights(module.shapes(dimensions), seed)))
    chance = torch.Generator().manual_seed(seed)
    for name, entry in safetensors.entries(data).items():
        noise = torch.rand(entry.shape, generator=chance) - 0.5
        scale = name.lower().replace("_", "").endswith("layernorm.weight")
        safetensors.view(data, entry).copy_(1 + noise if scale else noise * 0.6)
    return data


def tiny_batch() -> tuple[Tensor, Tensor]:
    """Three texts of 7, 12 and 3 tokens."""
    ids = torch.randint(5, 90, (3, 12), generator=torch.Generator().manual_seed(2))
    mask = (torch.arange(12) < torch.tensor([[7], [12], [3]])).long()
    return ids * mask, mask


def tiny(packed: bool = False) -> Embedder:
    return bert.load(tiny_file(), TINY, packed=packed)


def tensors(data: bytearray) -> dict[str, Tensor]:
    """Every tensor of a file, as a view."""
    found = safetensors.entries(data).items()
    return {name: safetensors.view(data, entry) for name, entry in found}


def file(values: Mapping[str, Tensor]) -> bytearray:
    """The inverse of `tensors`, for float32 and int8."""
    table, offset, body = {}, 0, bytearray()
    # the widest first, so that each is aligned
    for name, value in sorted(values.items(), key=lambda item: -item[1].itemsize):
        body += value.contiguous().numpy().tobytes()
        place = [offset, len(body)]
        kind = "I8" if value.dtype == torch.int8 else "F32"
        table[name] = {"dtype": kind, "shape": list(value.shape), "data_offsets": place}
        offset = len(body)
    header = json.dumps(table).encode()
    header += b" " * (-len(header) % 8)
    return bytearray(len(header).to_bytes(8, "little") + header + body)


def quantised(module: ModuleType, data: bytearray, dimensions: Mapping[str, object]) -> bytearray:
    """A float32 file in q8, by the words of the format's description."""
    found = tensors(data)
    values = {name: found[name] for name in module.shapes(dimensions)}
    for name in module.precisions(dict(dimensions) | {"precision": "q8"}):
        scale = values[name].abs().amax(1) / 127
        values[f"{name}.scale"] = scale
        values[name] = (values[name] / scale.unsqueeze(1)).round().to(torch.int8)
    return file(values)


def rows(values: list[str]) -> Tensor:
    """What the vectors hold: base64 of little-endian float32, one string for each row."""
    joined = bytearray(b"".join(base64.b64decode(value) for value in values))
    return torch.frombuffer(joined, dtype=torch.float32).view(len(values), -1)
