"""Quantised layers where their weights lie: a file aligns nothing."""

from __future__ import annotations

import pytest
import torch

from enclave.models import quantised


def at(offset: int, weight: torch.Tensor) -> torch.Tensor:
    """The same rows, so many bytes behind a multiple of 64."""
    room = torch.zeros(weight.numel() + 128, dtype=torch.uint8)
    start = -room.data_ptr() % 64 + offset
    view = room[start : start + weight.numel()].view(torch.int8).view(weight.shape)
    return view.copy_(weight)


@pytest.mark.parametrize("offset", [0, 8, 16, 56])
@pytest.mark.parametrize("tokens", [1, 5, 17])
def test_eight_bits_may_lie_anywhere(offset: int, tokens: int) -> None:
    """torch's kernel ends the process where rows are not aligned as it likes them."""
    chance = torch.Generator().manual_seed(1)
    weight = torch.randint(-127, 128, (192, 192), dtype=torch.int8, generator=chance)
    scale, x = torch.full((192,), 0.01), torch.randn(tokens, 192, generator=chance)
    used: list[tuple[int, int, int]] = []
    parts = [(at(offset, weight), scale)]
    layer = quantised.linear(parts, lambda *rows: used.append(rows), packs=True)
    expected = x @ (weight.float() * 0.01).T
    assert torch.allclose(layer(x).float(), expected, rtol=0.02, atol=0.2)
    assert used == ([(0, 0, 192)] if offset else [])
