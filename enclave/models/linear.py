"""Linear layers: weights packed once for oneDNN where that works, plain torch elsewhere.

Packing copies a weight into the blocked layout its kernels read, and lets the activation and the
residual be applied while a block is still in cache. The price is a compilation of about 3 ms the
first time each sequence length is seen.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional


class Linear(Protocol):
    """y = x W^T + b on the last axis, and what may follow it; x (..., I), y (..., O)."""

    def __call__(self, x: Tensor) -> Tensor:
        """The layer alone."""

    def gelu(self, x: Tensor) -> Tensor:
        """The layer, then the exact GELU (erf)."""

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """The layer plus a residual (..., O)."""


@dataclass(frozen=True, slots=True)
class Plain:
    """The weight as it lies in memory; correct everywhere."""

    weight: Tensor  # (O, I)
    bias: Tensor  # (O,)

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self.weight, self.bias)

    def gelu(self, x: Tensor) -> Tensor:
        return functional.gelu(self(x))

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        return self(x).add_(residual)


class Packed:
    """A blocked copy of the weight; the original is not kept."""

    __slots__ = ("_bias", "_weight")

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight = torch.ops.mkldnn._reorder_linear_weight(weight)  # opaque, (O, I)
        self._bias = bias  # (O,)

    def __call__(self, x: Tensor) -> Tensor:
        return self._pointwise(x, "none")

    def gelu(self, x: Tensor) -> Tensor:
        return self._pointwise(x, "gelu")

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        pointwise = torch.ops.mkldnn._linear_pointwise.binary
        result: Tensor = pointwise(x, residual, self._weight, self._bias, "add")
        return result

    def _pointwise(self, x: Tensor, activation: str) -> Tensor:
        # the last two arguments are the activation's scalars and algorithm: gelu "none" is erf
        pointwise = torch.ops.mkldnn._linear_pointwise
        result: Tensor = pointwise(x, self._weight, self._bias, activation, [], "none")
        return result


@cache
def packing_works() -> bool:
    """Whether this torch on this processor packs and computes right; tried, not looked up.

    The operators are torch's own but undocumented, so a build without them, or one that computes
    something else, must lead to `Plain` and not to a crash or a wrong embedding.
    """
    if not torch.backends.mkldnn.is_available():  # type: ignore[no-untyped-call]
        return False
    weight = torch.linspace(-1, 1, 48 * 32).view(48, 32)  # (O, I)
    x = torch.linspace(-2, 2, 5 * 32).view(1, 5, 32)  # (B, L, I)
    plain, residual = Plain(weight, weight[:, 0]), torch.ones(1, 5, 48)
    try:
        with torch.inference_mode():
            packed = Packed(weight, weight[:, 0].clone())
            pairs = (
                (packed(x), plain(x)),
                (packed.gelu(x), plain.gelu(x)),
                (packed.add(x, residual), plain.add(x, residual)),
            )
            return all(torch.allclose(a, b, rtol=1e-5, atol=1e-5) for a, b in pairs)
    except (RuntimeError, AttributeError):  # NotImplementedError is a RuntimeError
        return False
