"""Logits to a token: the likeliest, or one drawn from a seed."""

from __future__ import annotations

import torch
from torch import Tensor


class Sampler:
    """The same seed draws the same tokens from the same logits, on every machine."""

    __slots__ = ("_chance", "_temperature")

    def __init__(self, temperature: float, seed: int) -> None:
        """`temperature` 0 takes the likeliest; `seed` is a 64-bit number without a sign."""
        self._temperature = temperature
        self._chance = torch.Generator().manual_seed(seed)

    def __call__(self, logits: Tensor) -> int:
        """Logits (V,) float32 to an id; of equal ones, the first."""
        if self._temperature == 0:
            return int(logits.argmax())
        # float64: at temperatures near 0 the quotient would leave float32
        shares = torch.softmax(logits.double() / self._temperature, dim=-1)
        return int(torch.multinomial(shares, 1, generator=self._chance))
