"""Linear layers of float32 weights: packed once for MKL where that works, plain torch elsewhere.

Packing copies a weight into the layout that MKL multiplies with and otherwise makes in each call:
the shorter a text, the more it is worth. A packed weight serves any number of rows (oneMKL
Developer Reference, cblas_?gemm_pack). torch's operator takes it only for the number of rows that
it is told of, so it is told the number at hand.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

# Rows of activations that weights are packed for. For more, MKL gives a narrow layer (384 wide)
# to one thread alone, however many there are: half the speed on two. Fewer cost long texts.
ROWS = 256


class Linear(ABC):
    """y = x W^T + b on the last axis, and what may follow it; x (..., I), y (..., O)."""

    __slots__ = ()

    @abstractmethod
    def __call__(self, x: Tensor) -> Tensor:
        """The layer alone, in memory of its own."""

    def gelu(self, x: Tensor) -> Tensor:
        """The layer, then the exact GELU (erf)."""
        return functional.gelu(self(x))

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        """The layer plus a residual (..., O)."""
        return self(x).add_(residual)


class Plain(Linear):
    """The weight as it lies in memory; correct everywhere."""

    __slots__ = ("_bias", "_weight")

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight = weight  # (O, I)
        self._bias = bias  # (O,)

    def __call__(self, x: Tensor) -> Tensor:
        return functional.linear(x, self._weight, self._bias)


class Packed(Linear):
    """A packed copy of the weight; the original is not kept."""

    __slots__ = ("_bias", "_shape", "_weight")

    def __init__(self, weight: Tensor, bias: Tensor) -> None:
        self._weight = torch.ops.mkl._mkl_reorder_linear_weight(weight, ROWS)  # opaque
        self._shape = torch.zeros(1).expand(weight.shape)  # (O, I), one number in memory
        self._bias = bias  # (O,)

    def __call__(self, x: Tensor) -> Tensor:
        rows = x.numel() // x.shape[-1]
        linear = torch.ops.mkl._mkl_linear
        result: Tensor = linear(x, self._weight, self._shape, self._bias, rows)
        return result


@cache
def packing_works() -> bool:
    """Whether this torch on this processor packs and computes right; tried, not looked up.

    The operators are torch's own but undocumented, so a build without them, or one that computes
    something else, must lead to `Plain` and not to a crash or a wrong embedding.
    """
    weight = torch.linspace(-1, 1, 48 * 32).view(48, 32)  # (O, I)
    bias = weight[:, 0].clone()
    try:
        with torch.inference_mode():
            packed, plain = Packed(weight, bias), Plain(weight, bias)
            for rows in (1, 5, ROWS, ROWS + 3):
                x = torch.linspace(-2, 2, rows * 32).view(1, rows, 32)  # (B, L, I)
                if not torch.allclose(packed(x), plain(x), rtol=1e-5, atol=1e-5):
                    return False
    except (RuntimeError, AttributeError):  # NotImplementedError is a RuntimeError
        return False
    return True
