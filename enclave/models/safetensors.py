"""Safetensors: a file in memory to torch views on that memory, without a copy.

Format (https://github.com/huggingface/safetensors, README "Format"): 8 bytes little-endian header
length N; N bytes of JSON that begin with `{` and may end in spaces, mapping each name to `dtype`,
`shape` and `data_offsets`; then the tensors' bytes, little-endian and in C order, without holes,
overlaps or an unclaimed rest. Stricter here: a header of at most 1 MiB (the format's own cap is
100 MB), the dtypes below only, and each tensor aligned to its element size.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterable
from dataclasses import dataclass
from typing import NoReturn

import torch

from enclave.wire.errors import LocalProtocolError, RemoteProtocolError

MAX_HEADER_BYTES = 1 << 20
LENGTH_BYTES = 8

DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
}


@dataclass(frozen=True, slots=True)
class Entry:
    """Where one tensor lies: `start` and `stop` count bytes from the beginning of the file."""

    dtype: str
    shape: tuple[int, ...]
    start: int
    stop: int


def entries(data: bytes | bytearray | memoryview) -> dict[str, Entry]:
    """Every tensor of a safetensors file, in the order of its bytes; no tensor byte is read.

    RemoteProtocolError whatever else `data` holds.
    """
    view = memoryview(data).cast("B")
    begin = LENGTH_BYTES + _header_bytes(view)
    table = _json(bytes(view[LENGTH_BYTES:begin]))
    metadata = table.pop("__metadata__", {})
    if type(metadata) is not dict or not all(type(value) is str for value in metadata.values()):
        _refuse("__metadata__", "a value that is no text", "a map of text to text")
    found = [(name, _entry(name, fields, begin)) for name, fields in table.items()]
    found.sort(key=lambda item: (item[1].start, item[1].stop))
    _contiguous(found, begin, view.nbytes)
    return dict(found)


def view(data: bytearray | memoryview, entry: Entry) -> torch.Tensor:
    """The tensor of `entry` on the caller's bytes, which must be writable (torch knows no other).

    Writing to either changes both; where torch's default device is no CPU, it is a copy there.
    """
    if memoryview(data).readonly:
        raise LocalProtocolError("weights in read-only memory\nhint: give a bytearray or a mmap")
    dtype = DTYPES[entry.dtype]
    if entry.start == entry.stop:  # torch.frombuffer refuses to view nothing
        return torch.empty(entry.shape, dtype=dtype)
    count = math.prod(entry.shape)
    tensor = torch.frombuffer(data, dtype=dtype, count=count, offset=entry.start)
    return tensor.view(entry.shape).to(torch.get_default_device())


def _header_bytes(view: memoryview) -> int:
    if view.nbytes < LENGTH_BYTES:
        _refuse("file", f"{view.nbytes} bytes", f"at least {LENGTH_BYTES}")
    length = int.from_bytes(view[:LENGTH_BYTES], "little")
    if not 2 <= length <= MAX_HEADER_BYTES:
        _refuse("header length", length, f"2 to {MAX_HEADER_BYTES}")
    if LENGTH_BYTES + length > view.nbytes:
        _refuse("header length", length, f"at most {view.nbytes - LENGTH_BYTES}, what is there")
    return length


def _json(header: bytes) -> dict[str, object]:
    if header[:1] != b"{":
        _refuse("header", f"{header[:1]!r} first", "'{' first")
    try:
        table = json.loads(
            header.rstrip(b" ").decode(), object_pairs_hook=_unique, parse_constant=_no_constant
        )
    except (ValueError, RecursionError) as error:
        _refuse("header", error, "UTF-8 JSON")
    assert type(table) is dict  # it begins with "{"
    return table


def _unique(pairs: Iterable[tuple[str, object]]) -> dict[str, object]:
    table: dict[str, object] = {}
    for name, value in pairs:
        if name in table:
            _refuse("header", f"the key {name!r} twice", "each key once")
        table[name] = value
    return table


def _no_constant(name: str) -> NoReturn:
    _refuse("header", name, "JSON numbers")


def _entry(name: str, fields: object, begin: int) -> Entry:
    if type(fields) is not dict or set(fields) != {"dtype", "shape", "data_offsets"}:
        _refuse(name, fields, "a map of dtype, shape, data_offsets")
    dtype, shape, offsets = fields["dtype"], fields["shape"], fields["data_offsets"]
    if type(dtype) is not str or dtype not in DTYPES:
        _refuse(f"dtype of {name}", dtype, ", ".join(DTYPES))
    if not _counts(shape):
        _refuse(f"shape of {name}", shape, "a list of counts")
    if not _counts(offsets) or len(offsets) != 2 or offsets[0] > offsets[1]:
        _refuse(f"data_offsets of {name}", offsets, "two ascending counts")
    size, claimed = math.prod(shape) * DTYPES[dtype].itemsize, offsets[1] - offsets[0]
    if size != claimed:
        _refuse(f"data_offsets of {name}", f"{claimed} bytes", f"{size} for its dtype and shape")
    if (begin + offsets[0]) % DTYPES[dtype].itemsize:
        _refuse(f"data_offsets of {name}", begin + offsets[0], f"a start aligned to {dtype}")
    return Entry(dtype, tuple(shape), begin + offsets[0], begin + offsets[1])


def _counts(value: object) -> bool:
    """A list of at most 8 integers from 0 to 2**48: products stay small and bool is no integer."""
    return (
        type(value) is list
        and len(value) <= 8
        and all(type(item) is int and 0 <= item <= 1 << 48 for item in value)
    )


def _contiguous(found: list[tuple[str, Entry]], begin: int, end: int) -> None:
    reached = begin
    for name, entry in found:
        if entry.start != reached:
            kind = "an overlap" if entry.start < reached else "a hole"
            _refuse(f"data_offsets of {name}", f"{kind} at byte {entry.start}", reached)
        reached = entry.stop
    if reached != end:
        _refuse("file", f"{end} bytes", f"{reached}, where the last tensor ends")


def _refuse(what: str, found: object, expected: object) -> NoReturn:
    raise RemoteProtocolError(f"safetensors {what}: found {found}, expected {expected}"[:500])
