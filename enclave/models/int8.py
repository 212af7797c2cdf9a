"""An encoder's linear layers of int8 weights, activations rounded to int8 as they come.

y = s_x s_w (q_x q_w^T) + b. A row of the weight has one scale s_w, and so has each token: s_x is
its largest magnitude / 127. A scale for a whole batch would be cheaper, but then one text would
change what comes out for another that is computed along with it, perhaps somebody else's.
"""

from __future__ import annotations

from functools import cache

import torch
from torch import Tensor
from torch.nn import functional

from enclave.models.linear import Linear

ZERO = 128  # of the unsigned bytes that stand for -127 to 127
LEAST = 1e-30  # a token without anything larger is taken for zeros; 127 / LEAST is still finite


class Plain(Linear):
    """The weight as it lies in memory, multiplied as float32; correct everywhere."""

    __slots__ = ("_bias", "_scale", "_weight")

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor) -> None:
        self._weight = weight  # (O, I) int8
        self._scale = scale / 127  # (O,), so that s_x need not be divided
        self._bias = bias  # (O,)

    def __call__(self, x: Tensor) -> Tensor:
        product, largest = self._multiply(x)
        return torch.addcmul(self._bias, product, largest, out=product)

    def add(self, x: Tensor, residual: Tensor) -> Tensor:
        product, largest = self._multiply(x)
        return torch.addcmul(residual, product, largest, out=product).add_(self._bias)

    def _multiply(self, x: Tensor) -> tuple[Tensor, Tensor]:
        """s_w (q_x q_w^T) / 127, (..., O), and each token's largest magnitude, (..., 1)."""
        scratch = x.abs()  # (..., I), used twice: memory that is in the cache already
        largest = scratch.amax(-1, keepdim=True).clamp_min_(LEAST)  # (..., 1)
        rounded = torch.mul(x, 127 / largest, out=scratch).round_()  # -127 to 127
        return self._product(rounded), largest

    def _product(self, rounded: Tensor) -> Tensor:
        return functional.linear(rounded, self._weight.to(rounded.dtype)).mul_(self._scale)


class Packed(Plain):
    """A copy of the weight packed for oneDNN's integer kernels; the original is not kept.

    They take unsigned activations: with signed ones oneDNN has no kernel for processors without
    AMX and falls back to one that is thousands of times slower.
    """

    __slots__ = ("_zeros",)

    def __init__(self, weight: Tensor, scale: Tensor, bias: Tensor) -> None:
        packed = torch.ops.onednn.qlinear_prepack(weight, None)  # opaque
        super().__init__(packed, scale, bias)
        self._zeros = torch.zeros(len(scale), dtype=torch.int64)  # (O,) zero points of the weight

    def _product(self, rounded: Tensor) -> Tensor:
        signed = rounded.to(torch.int8)
        unsigned = signed.view(torch.uint8).bitwise_xor_(ZERO)  # (..., I), plus 128
        result: Tensor = torch.ops.onednn.qlinear_pointwise(
            *(unsigned, 1.0, ZERO),  # s_x comes later
            *(self._weight, self._scale, self._zeros, None),  # no bias
            *(1.0, 0, torch.float32, "none", [], "none"),  # not rounded, nothing after it
        )
        return result


@cache
def packing_works() -> bool:
    """Whether this torch on this processor packs and computes right; tried, not looked up.

    With the largest numbers too: kernels for processors without VNNI saturate sums of 16 bits.
    """
    weight = torch.arange(48 * 32).view(48, 32).remainder(255).sub(127).to(torch.int8)  # (O, I)
    weight[0] = 127
    scale, bias = torch.linspace(0.01, 0.02, 48), torch.linspace(-1, 1, 48)
    try:
        with torch.inference_mode():
            packed, plain = Packed(weight, scale, bias), Plain(weight, scale, bias)
            for rows in (1, 5, 64):
                x = torch.linspace(-2, 2, rows * 32).view(1, rows, 32)  # (B, L, I)
                x[0, 0] = 2
                if not torch.allclose(packed(x), plain(x), rtol=1e-5, atol=1e-5):
                    return False
    except (RuntimeError, AttributeError):  # NotImplementedError is a RuntimeError
        return False
    return True
