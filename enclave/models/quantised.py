"""Weights in fewer bits: their formats, and linear layers that compute on them.

A tensor `name` of shape (O, I) is stored in a safetensors file as

fp32   `name` F32 (O, I).
bf16   `name` BF16 (O, I), rounded half to even.
q8     `name` I8 (O, I) and `name.scale` F32 (O,): value times the scale of its row; the scale is
       the row's largest magnitude / 127, or 1 where that is 0.
q4     `name` U8 (O, I / 2) and `name.scale` BF16 (O, I / 32): two values a byte, the first in the
       low four bits; (value - 8) times the scale of its group of 32 along I. The scale is the
       group's value of largest magnitude / -8, or 1 where that is 0: that value becomes 0.

A single token is bound by how fast weights are read, so it runs on kernels that read them as they
are. For many tokens a block of the weight is widened, used and forgotten, still in the cache. Both
are tried before use: what this processor does not compute right, or at all, is done in plain torch.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from typing import Protocol

import torch
from torch import Tensor
from torch.nn import functional

PRECISIONS = ("fp32", "bf16", "q8", "q4")
GROUP = 32  # values along I that share a scale in q4
LANES = 64  # rows that torch's kernel for four bits interleaves
VECTOR = 64  # bytes; torch's kernel for eight bits ends the process at rows that begin amid one
FEW = 16  # tokens up to which reading the weight costs more than computing with it
BLOCK = 1 << 20  # weights widened at a time: they stay in the second-level cache

Stored = tuple[str, tuple[int, ...]]  # safetensors' name of a type, shape


def stored(name: str, shape: tuple[int, ...], precision: str) -> dict[str, Stored]:
    """What a file holds for one tensor of that precision, in order."""
    scale = f"{name}.scale"
    if precision == "q8":
        return {name: ("I8", shape), scale: ("F32", shape[:1])}
    if precision == "q4":
        outputs, inputs = shape
        return {
            name: ("U8", (outputs, inputs // 2)),
            scale: ("BF16", (outputs, inputs // GROUP)),
        }
    return {name: ("BF16" if precision == "bf16" else "F32", shape)}


def widened(weight: Tensor, scale: Tensor | None, dtype: torch.dtype = torch.float32) -> Tensor:
    """The values that stored rows stand for: (R, ...) and their scales to (R, I) of `dtype`."""
    if scale is None:
        return weight.to(dtype)
    if weight.dtype == torch.int8:
        return weight.to(dtype).mul_(scale.to(dtype).unsqueeze(-1))
    pairs = torch.stack((weight & 15, weight >> 4), dim=-1)  # (R, I / 2, 2)
    groups = pairs.view(torch.int8).sub_(8).view(*scale.shape, GROUP)  # (R, I / 32, 32)
    return groups.to(dtype).mul_(scale.to(dtype).unsqueeze(-1)).flatten(1)  # (R, I)


@dataclass(frozen=True, slots=True)
class Table:
    """Rows that are looked up; stored in any precision."""

    weight: Tensor  # (V, ...)
    scale: Tensor | None

    def __call__(self, ids: Tensor) -> Tensor:
        """ids (L,) to (L, H) float32."""
        return widened(self.weight[ids], None if self.scale is None else self.scale[ids])


class Linear(Protocol):
    """y = x W^T; x (L, I) float32 to y (L, O), float32 or bfloat16 as the products come.

    What is added to float32, or multiplied with it, need not be converted before.
    """

    def __call__(self, x: Tensor, /) -> Tensor:
        """The layer."""


@dataclass(frozen=True, slots=True)
class Plain:
    """Stored rows, widened to float32 block by block; correct everywhere."""

    weight: Tensor  # (O, ...)
    scale: Tensor | None

    def __call__(self, x: Tensor) -> Tensor:
        if self.weight.dtype == torch.float32:
            return functional.linear(x, self.weight)
        return self.blocks(x, torch.float32)

    def blocks(self, x: Tensor, dtype: torch.dtype) -> Tensor:
        """The layer with products of `dtype`; scales of whole rows can wait for the result."""
        x, y = x.to(dtype), torch.empty(len(x), len(self.weight))  # (L, I), (L, O)
        by_row = self.weight.dtype == torch.int8
        groups = None if by_row else self.scale
        rows = max(1, BLOCK // x.shape[1])
        for start in range(0, len(self.weight), rows):
            here = slice(start, start + rows)
            block = widened(self.weight[here], None if groups is None else groups[here], dtype)
            y[:, here] = functional.linear(x, block)
        return y.mul_(self.scale) if by_row and self.scale is not None else y


@dataclass(frozen=True, slots=True)
class Half:
    """bfloat16 products, where the processor has them or weights are read for few tokens."""

    rows: Plain

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) <= FEW or wide() == torch.bfloat16:
            return functional.linear(x.bfloat16(), self.rows.weight)
        return self.rows.blocks(x, torch.float32)


@dataclass(frozen=True, slots=True)
class Eight:
    """Rows of q8 as they lie in the file, under torch's kernel for eight bits."""

    rows: Plain
    ones: Tensor  # (O,) bfloat16: its kernel would take scales in bfloat16 only

    def __call__(self, x: Tensor) -> Tensor:
        scale = self.rows.scale
        assert scale is not None
        if len(x) <= FEW:
            y = torch.ops.aten._weight_int8pack_mm(x.bfloat16(), self.rows.weight, self.ones)
            return torch.mul(y, scale)  # (L, O) float32
        return self.rows.blocks(x, wide())


class Four:
    """Rows of q4 in the layout of torch's kernel for four bits; the original is not kept.

    That layout is (O / 64, I, 32) bytes: row j of each 64 in the low four bits of byte j, row
    j + 32 in the high ones. Scales come with a zero point, here always 0.
    """

    __slots__ = ("_scales", "_weight")

    def __init__(self, outputs: int, inputs: int) -> None:
        self._weight = torch.empty(outputs, inputs // 2, dtype=torch.uint8)
        self._scales = torch.zeros(inputs // GROUP, outputs, 2, dtype=torch.bfloat16)

    def put(self, start: int, weight: Tensor, scale: Tensor) -> None:
        """Rows `start` and on from the file's format; `start` and their number in whole lanes."""
        here = slice(start, start + len(weight))
        values = torch.stack((weight & 15, weight >> 4), dim=-1).flatten(1)  # (R, I)
        pack = torch.ops.aten._convert_weight_to_int4pack_for_cpu
        self._weight[here] = pack(values.to(torch.int32), 1)
        self._scales[:, here, 0] = scale.t()

    def __call__(self, x: Tensor) -> Tensor:
        if len(x) > FEW:
            return self._blocks(x.to(wide()))
        kernel = torch.ops.aten._weight_int4pack_mm_for_cpu
        y: Tensor = kernel(x.bfloat16(), self._weight, GROUP, self._scales)
        return y

    def _blocks(self, x: Tensor) -> Tensor:
        """Many tokens x (L, I): N lanes at a time are widened, low bits beside high ones."""
        length, inputs = x.shape
        lanes, half = len(self._weight) // LANES, LANES // 2
        words = self._weight.view(torch.int64).view(lanes, inputs, half // 8)  # fewer to move
        scales = self._scales.view(-1, lanes, 2, half, 2)[..., 0].transpose(1, 2).to(x.dtype)
        y = torch.empty(length, lanes, 2, half)
        step = min(lanes, max(1, BLOCK // (inputs * LANES)))
        buffers = _buffers(inputs, step, x.dtype)
        for start in range(0, lanes, step):
            here = slice(start, min(start + step, lanes))
            count = here.stop - start  # N
            packed, values, block = buffers if count == step else _buffers(inputs, count, x.dtype)
            packed.view(torch.int64).view(inputs, count, -1).copy_(words[here].transpose(0, 1))
            torch.bitwise_and(packed, 15, out=values[:, 0])
            torch.bitwise_right_shift(packed, 4, out=values[:, 1])
            block.copy_(values.view(torch.int8).sub_(8).view(block.shape))
            scale = scales[:, :, here].reshape(-1, 1, block.shape[1])  # (I / 32, 1, 2 * N * 32)
            block.view(-1, GROUP, block.shape[1]).mul_(scale)
            part = torch.mm(x, block).view(length, 2, count, half)
            y[:, here] = part.transpose(1, 2)
        return y.view(length, -1)


def _buffers(inputs: int, lanes: int, dtype: torch.dtype) -> tuple[Tensor, Tensor, Tensor]:
    """For N lanes: bytes (I, N * 32), values (I, 2, N * 32), and widened (I, 2 * N * 32)."""
    columns = lanes * LANES // 2
    values = torch.empty(inputs, 2, columns, dtype=torch.uint8)
    wide_ = torch.empty(inputs, 2 * columns, dtype=dtype)
    return torch.empty(inputs, columns, dtype=torch.uint8), values, wide_


def linear(
    parts: Sequence[tuple[Tensor, Tensor | None]],
    used: Callable[[int, int, int], None],
    *,
    packs: bool,
) -> Linear:
    """Layers of the same input as one; each part is stored rows and their scales.

    `used(part, start, stop)` hears which rows of a part are no longer looked at.
    """
    weight = parts[0][0]
    if packs and weight.dtype == torch.uint8 and all(len(rows) % LANES == 0 for rows, _ in parts):
        return _four(parts, used)
    joined = _joined([rows for rows, _ in parts])
    if packs and weight.dtype == torch.int8 and joined.data_ptr() % VECTOR:
        joined = joined.clone()
    scales = [scale for _, scale in parts if scale is not None]
    rows = Plain(joined, _joined(scales) if scales else None)
    if joined is not weight:
        for number, (part, _) in enumerate(parts):
            used(number, 0, len(part))
    if packs and weight.dtype == torch.int8:
        return Eight(rows, torch.ones(len(joined), dtype=torch.bfloat16))
    return Half(rows) if packs and weight.dtype == torch.bfloat16 else rows


def _four(
    parts: Sequence[tuple[Tensor, Tensor | None]], used: Callable[[int, int, int], None]
) -> Four:
    """Packed a few rows at a time, since torch wants every value as 32 bits."""
    inputs = 2 * parts[0][0].shape[1]
    layer = Four(sum(len(rows) for rows, _ in parts), inputs)
    begin, step = 0, LANES * max(1, BLOCK // (inputs * LANES))
    for number, (rows, scale) in enumerate(parts):
        assert scale is not None
        for start in range(0, len(rows), step):
            stop = min(start + step, len(rows))
            layer.put(begin + start, rows[start:stop], scale[start:stop])
            used(number, start, stop)
        begin += len(rows)
    return layer


def _joined(tensors: Sequence[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(list(tensors))


@cache
def wide() -> torch.dtype:
    """What blocks are widened to: bfloat16 where the processor multiplies it, else float32.

    Without such instructions torch computes bfloat16 right, but five times slower than float32.
    """
    known = ("_is_avx512_bf16_supported", "_is_amx_tile_supported")
    found = any(getattr(torch.cpu, name, lambda: False)() for name in known)
    return torch.bfloat16 if found else torch.float32


@cache
def kernels_work(precision: str) -> bool:
    """Whether this torch on this processor computes a precision right; tried, not looked up."""
    if precision == "fp32":
        return False  # there is nothing but plain torch
    outputs, inputs = 3 * LANES, 4 * GROUP
    part = sample(outputs, inputs, precision)
    try:
        with torch.inference_mode():
            plain, fast = Plain(*part), linear([part], lambda *_: None, packs=True)
            for tokens in (1, FEW + 1):
                x = torch.linspace(-2, 2, tokens * inputs).sin().view(tokens, inputs)
                found, expected = fast(x), plain(x)
                if not (found - expected).abs().max() <= 0.02 * expected.abs().max():
                    return False
    except (RuntimeError, AttributeError):  # NotImplementedError is a RuntimeError
        return False
    return True


def sample(outputs: int, inputs: int, precision: str) -> tuple[Tensor, Tensor | None]:
    """Stored rows of every value and different scales."""
    count = torch.arange(outputs * inputs)
    if precision == "bf16":
        return (count * 0.37).sin().view(outputs, inputs).bfloat16(), None
    if precision == "q8":
        values = (count % 251 - 125).to(torch.int8).view(outputs, inputs)
        return values, torch.linspace(0.001, 0.02, outputs)
    values = (count[: outputs * inputs // 2] * 37 % 256).to(torch.uint8).view(outputs, -1)
    scales = torch.linspace(-0.2, 0.3, outputs * inputs // GROUP).bfloat16()
    return values, scales.view(outputs, -1)
