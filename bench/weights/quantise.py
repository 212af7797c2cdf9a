"""A float model to the precision it is served in, as it streams, a few rows at a time.

The formats are those of `enclave.models.quantised`. So an 8B model is never in memory, nor are its
floats on a disk.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from enclave.models.quantised import GROUP, stored
from enclave.models.safetensors import LENGTH_BYTES, MAX_HEADER_BYTES
from enclave.wire.errors import RemoteProtocolError

PIECE = 1 << 20  # values converted at a time
WIDTHS = {"F32": 4, "F16": 2, "BF16": 2}

Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One tensor of the stream."""

    name: str
    dtype: str
    shape: tuple[int, ...]
    bytes: int


def quantise(chunks: Iterable[bytes], precisions: Mapping[str, str]) -> Iterator[bytes]:
    """A safetensors file of floats to one in which each tensor has its precision, else fp32.

    What needs no change comes as it is, to the byte. RemoteProtocolError where the file is not
    one, or a tensor to be quantised has another shape than rows or a value that is not finite.
    """
    stream = _Stream(chunks)
    begin = _header(stream)
    found = tensors(begin)
    targets = {t.name: precisions.get(t.name, "fp32") for t in found if t.dtype in WIDTHS}
    if all(t.dtype == "F32" and targets[t.name] == "fp32" for t in found if t.dtype in WIDTHS):
        yield len(begin).to_bytes(LENGTH_BYTES, "little") + begin
        yield from stream.rest()
        return
    yield head(_layout(found, targets))
    for tensor in found:
        if tensor.dtype in WIDTHS:
            yield from _converted(stream, tensor, targets[tensor.name])
        else:
            yield stream.take(tensor.bytes)
    if any(stream.rest()):
        raise RemoteProtocolError("safetensors: bytes after the last tensor")


def header(chunks: Iterable[bytes]) -> bytes:
    """The JSON that a safetensors file begins with; no more chunks are taken than it needs."""
    return _header(_Stream(chunks))


def body(chunks: Iterable[bytes], begin: bytes) -> Iterator[bytes]:
    """What follows the header `begin`; RemoteProtocolError where the file has another."""
    stream = _Stream(chunks)
    if _header(stream) != begin:
        raise RemoteProtocolError("safetensors: a file that changed while it was read")
    yield from stream.rest()


def head(layout: Mapping[str, tuple[str, tuple[int, ...], int]]) -> bytes:
    """A safetensors file up to its first tensor: name to type, shape and bytes, in file order."""
    table, offset = {}, 0
    for name, (dtype, shape, size) in layout.items():
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [offset, offset + size]}
        offset += size
    header = json.dumps(table, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)  # tensors begin aligned
    return len(header).to_bytes(LENGTH_BYTES, "little") + header


def q8(values: Floats) -> tuple[bytes, bytes]:
    """Rows (R, I) to their integers and float32 scales."""
    scale = (np.abs(values).max(axis=1) / np.float32(127)).astype(np.float32)  # (R,)
    scale[scale == 0] = 1
    whole = np.rint(values / scale[:, None])
    return whole.astype(np.int8).tobytes(), scale.tobytes()


def q4(values: Floats) -> tuple[bytes, bytes]:
    """Rows (R, I) to pairs of integers and a bfloat16 scale for each group of 32."""
    groups = values.reshape(len(values), -1, GROUP)  # (R, I / 32, 32)
    largest = np.abs(groups).argmax(axis=-1, keepdims=True)
    scale = bf16(np.take_along_axis(groups, largest, axis=-1) / np.float32(-8))  # bits
    scale[scale & 0x7FFF == 0] = 0x3F80  # 1
    whole = np.rint(groups / _widened(scale)) + 8
    numbers = whole.clip(0, 15).astype(np.uint8).reshape(len(values), -1)
    return (numbers[:, ::2] | numbers[:, 1::2] << 4).tobytes(), scale.tobytes()


def bf16(values: Floats) -> NDArray[np.uint16]:
    """The upper halves of float32, rounded half to even."""
    bits = values.view(np.uint32)
    rounded: NDArray[np.uint16] = ((bits + 0x7FFF + (bits >> 16 & 1)) >> 16).astype(np.uint16)
    return rounded


def _widened(bits: NDArray[np.uint16]) -> Floats:
    return (bits.astype(np.uint32) << 16).view(np.float32)


def _layout(
    found: Iterable[Tensor], targets: Mapping[str, str]
) -> dict[str, tuple[str, tuple[int, ...], int]]:
    sizes = {"F32": 4, "BF16": 2, "I8": 1, "U8": 1}
    layout = {}
    for tensor in found:
        if tensor.name not in targets:
            layout[tensor.name] = (tensor.dtype, tensor.shape, tensor.bytes)
            continue
        _require_rows(tensor, targets[tensor.name])
        for name, (dtype, shape) in stored(tensor.name, tensor.shape, targets[tensor.name]).items():
            layout[name] = (dtype, shape, sizes[dtype] * math.prod(shape))
    return layout


def _require_rows(tensor: Tensor, precision: str) -> None:
    """RemoteProtocolError for a shape without rows, or rows without whole groups, to scale.

    After q8 come scales of four bytes, which have to lie aligned.
    """
    multiple = {"q8": 4, "q4": GROUP}.get(precision)
    if multiple and (len(tensor.shape) != 2 or tensor.shape[1] % multiple):
        expected = f"rows of a multiple of {multiple} for {precision}"
        raise RemoteProtocolError(
            f"tensor {tensor.name}: found shape {tensor.shape}, expected {expected}"
        )


def _converted(stream: _Stream, tensor: Tensor, precision: str) -> Iterator[bytes]:
    """A tensor's rows, then their scales where there are any."""
    width = WIDTHS[tensor.dtype]
    row = tensor.shape[-1] if tensor.shape else 1
    left, scales = math.prod(tensor.shape), []
    while left:
        count = min(left, max(1, PIECE // row) * row)
        values = _floats(stream.take(width * count), tensor.dtype).reshape(-1, row)
        left -= count
        if precision != "fp32" and not np.isfinite(values).all():
            raise RemoteProtocolError(f"tensor {tensor.name}: a value that is not finite")
        if precision in ("q8", "q4"):
            weight, scale = (q8 if precision == "q8" else q4)(values)
            scales.append(scale)
            yield weight
        else:
            yield bf16(values).tobytes() if precision == "bf16" else values.tobytes()
    yield from scales


def _floats(data: bytes, dtype: str) -> Floats:
    if dtype == "F32":
        return np.frombuffer(data, "<f4")
    if dtype == "F16":
        return np.frombuffer(data, "<f2").astype(np.float32)
    return _widened(np.frombuffer(data, "<u2"))


def _header(stream: _Stream) -> bytes:
    length = int.from_bytes(stream.take(LENGTH_BYTES), "little")
    if length > MAX_HEADER_BYTES:
        raise RemoteProtocolError(f"safetensors: a header of {length} bytes")
    return stream.take(length)


def tensors(begin: bytes) -> list[Tensor]:
    """What a header names, by place; whether they fill the file is checked where it is loaded."""
    try:
        table = {k: v for k, v in json.loads(begin).items() if k != "__metadata__"}
        found = [
            (start, Tensor(name, fields["dtype"], tuple(fields["shape"]), stop - start))
            for name, fields in table.items()
            for start, stop in [fields["data_offsets"]]
        ]
    except (ValueError, TypeError, KeyError, AttributeError) as error:
        raise RemoteProtocolError(f"safetensors header: {error!r}"[:500]) from None
    return [tensor for _, tensor in sorted(found, key=lambda item: item[0])]


class _Stream:
    """Chunks of any size, taken in pieces of a wanted one."""

    def __init__(self, chunks: Iterable[bytes]) -> None:
        self._chunks = iter(chunks)
        self._held = b""

    def take(self, count: int) -> bytes:
        pieces, missing = [self._held[:count]], count - len(self._held)
        self._held = self._held[count:]
        while missing > 0:
            chunk = next(self._chunks, None)
            if chunk is None:
                raise RemoteProtocolError(f"safetensors: ends {missing} bytes too early")
            pieces.append(chunk[:missing])
            self._held = chunk[missing:]
            missing -= len(chunk)
        return b"".join(pieces)

    def rest(self) -> Iterator[bytes]:
        yield self._held
        yield from self._chunks
