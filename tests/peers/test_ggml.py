"""Our four-bit weights in ggml's order."""

from __future__ import annotations

import numpy as np
import torch

from bench.peers import ggml
from enclave.models import quantised


def widened(data: np.ndarray) -> np.ndarray:
    """Q4_0 to float32, after dequantize_row_q4_0 in ggml-quants.c."""
    block = data.reshape(len(data), -1, 18)
    scale = np.ascontiguousarray(block[..., :2]).view("<f2").astype("<f4")
    low, high = block[..., 2:] & 15, block[..., 2:] >> 4
    values = np.concatenate((low, high), axis=-1).astype("<f4") - 8
    return (values * scale).reshape(len(data), -1)


def test_a_block_of_theirs_holds_the_values_of_a_group_of_ours() -> None:
    chance = np.random.default_rng(1)
    packed = chance.integers(0, 256, (6, 48), dtype=np.uint8)
    wide = torch.from_numpy(chance.uniform(0.001, 0.1, (6, 3)).astype("<f4")).bfloat16()
    scale = wide.view(torch.uint16).numpy()
    expected = quantised.widened(torch.from_numpy(packed), wide).numpy()
    assert (widened(ggml.blocks(packed, scale)) == expected).all()


def test_halves_that_are_rotated_together_become_neighbours() -> None:
    rows = np.arange(2 * 6)[:, None]  # two heads of six
    found = ggml.turned(rows, 2)[:, 0].tolist()
    assert found == [0, 3, 1, 4, 2, 5, 6, 9, 7, 10, 8, 11]
