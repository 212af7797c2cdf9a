"""A BERT encoder small enough to compute twice."""

from __future__ import annotations

import torch
from torch import Tensor

from bench.weights import seeded
from enclave.models import minilm, safetensors

TINY: dict[str, object] = {
    "vocab_size": 90,
    "hidden_size": 48,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "intermediate_size": 80,
    "max_position_embeddings": 40,
    "max_seq_length": 32,
}


def tiny_file(seed: int = 1) -> bytearray:
    """A file of TINY's shapes in which every value differs, norms and biases too."""
    data = bytearray(b"".join(seeded.weights(minilm.shapes(TINY), seed)))
    chance = torch.Generator().manual_seed(seed)
    for name, entry in safetensors.entries(data).items():
        noise = torch.rand(entry.shape, generator=chance) - 0.5
        safetensors.view(data, entry).copy_(1 + noise if "Norm.w" in name else noise * 0.6)
    return data


def tiny_batch() -> tuple[Tensor, Tensor]:
    """Three texts of 7, 12 and 3 tokens."""
    ids = torch.randint(5, 90, (3, 12), generator=torch.Generator().manual_seed(2))
    mask = (torch.arange(12) < torch.tensor([[7], [12], [3]])).long()
    return ids * mask, mask


def tiny(packed: bool = False) -> minilm.Model:
    return minilm.load(tiny_file(), TINY, packed=packed)
