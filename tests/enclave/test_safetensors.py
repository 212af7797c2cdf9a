"""The header parser against the reference package, hostile headers and noise."""

from __future__ import annotations

import json
import math

import pytest
import safetensors
import safetensors.torch
import torch
from hypothesis import given
from hypothesis import strategies as st

from enclave.models.safetensors import DTYPES, MAX_HEADER_BYTES, Entry, entries, view
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError

ONE = {"dtype": "F32", "shape": [2, 3], "data_offsets": [0, 24]}


def file(header: object, data_bytes: int = 24) -> bytearray:
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    return bytearray(len(text).to_bytes(8, "little") + text + bytes(range(data_bytes)))


def altered(**fields: object) -> dict[str, object]:
    return {"a": ONE | fields}


def test_every_dtype_reads_as_the_reference_package_wrote_it() -> None:
    tensors = {
        name: torch.arange(-3, 9).view(3, 4).abs().to(dtype) for name, dtype in DTYPES.items()
    }
    data = bytearray(safetensors.torch.save(tensors, metadata={"format": "pt"}))
    found = entries(data)
    assert found.keys() == tensors.keys()
    for name, tensor in tensors.items():
        assert found[name].dtype == name
        assert torch.equal(view(data, found[name]), tensor)


def test_a_view_is_the_callers_memory() -> None:
    data = file({"a": ONE})
    tensor = view(data, entries(data)["a"])
    data[-4:] = b"\x00\x00\x80\x3f"  # 1.0
    assert tensor[1, 2] == 1.0
    tensor[1, 2] = 0.0
    assert data[-4:] == b"\x00\x00\x00\x00"


def test_entries_come_in_the_order_of_their_bytes() -> None:
    second = {"dtype": "U8", "shape": [1], "data_offsets": [24, 25]}
    found = entries(file({"b": second, "a": ONE}, 25))
    assert list(found) == ["a", "b"]
    begin = found["a"].start
    assert found["b"] == Entry("U8", (1,), begin + 24, begin + 25)


def test_scalars_and_empty_tensors_have_their_shapes() -> None:
    data = bytearray(
        safetensors.torch.save(
            {"none": torch.empty(0, 3), "one": torch.tensor(7, dtype=torch.int8)}
        )
    )
    found = entries(data)
    assert view(data, found["none"]).shape == (0, 3)
    assert view(data, found["one"]) == 7
    assert view(data, found["one"]).shape == ()


def test_a_file_without_tensors_is_one() -> None:
    assert entries(file({}, 0)) == {}
    assert entries(file({"__metadata__": {"format": "pt"}}, 0)) == {}


def test_read_only_memory_is_our_own_mistake() -> None:
    data = bytes(file({"a": ONE}))
    with pytest.raises(LocalProtocolError, match="read-only"):
        view(memoryview(data), entries(data)["a"])


HOSTILE: dict[str, tuple[bytes | bytearray, str]] = {
    "nothing": (b"", "at least 8"),
    "half a length": (b"\x00" * 7, "at least 8"),
    "length past the end": ((99).to_bytes(8, "little") + b"{}", "what is there"),
    "length over the cap": ((MAX_HEADER_BYTES + 1).to_bytes(8, "little") + b"{}", "2 to"),
    "length of 2**64 - 1": (b"\xff" * 8 + b"{}", "2 to"),
    "length 0": (bytes(8) + b"{}", "2 to"),
    "header not JSON": (file(b"{nonsense", 0), "JSON"),
    "header a list": (file(b"[]", 0), "'{' first"),
    "header begins with a space": (file(b" {}", 0), "'{' first"),
    "header with a BOM": (file(b"\xef\xbb\xbf{}", 0), "'{' first"),
    "header not UTF-8": (file(b'{"\xff": 1}', 0), "UTF-8"),
    "header ends in a newline and a brace": (file(b"{}\n}", 0), "JSON"),
    "header padded with zeros": (file(b"{}\x00\x00", 0), "JSON"),
    "header nested without end": (file(b'{"a":' * 100_000, 0), "JSON"),
    "a name twice": (file(b'{"a": %s, "a": %s}' % ((json.dumps(ONE).encode(),) * 2)), "twice"),
    "a field twice": (file(b'{"a": {"dtype": "F32", "dtype": "F32"}}'), "twice"),
    "metadata of numbers": (file({"__metadata__": {"a": 1}}, 0), "text to text"),
    "metadata a list": (file({"__metadata__": []}, 0), "text to text"),
    "entry no map": (file({"a": 1}), "a map of dtype"),
    "entry lacks its shape": (file({"a": {"dtype": "F32", "data_offsets": [0, 24]}}), "a map of"),
    "entry with another field": (file(altered(strides=[3, 1])), "a map of"),
    "dtype unknown": (file(altered(dtype="F31")), "dtype of a"),
    "dtype a list": (file(altered(dtype=["F32"])), "dtype of a"),
    "shape negative": (file(altered(shape=[-2, -3])), "list of counts"),
    "shape of floats": (file(altered(shape=[2.0, 3])), "list of counts"),
    "shape of truths": (file(altered(shape=[True, 6])), "list of counts"),
    "shape not a number": (file(b'{"a": {"shape": [NaN]}}'), "JSON numbers"),
    "shape a map": (file(altered(shape={})), "list of counts"),
    "shape beyond counting": (file(altered(shape=[1 << 49, 0])), "list of counts"),
    "shape of 9 axes": (file(altered(shape=[6] + [1] * 8)), "list of counts"),
    "shape larger than its bytes": (file(altered(shape=[2, 4])), "24 bytes, expected 32"),
    "shape smaller than its bytes": (file(altered(shape=[1, 3])), "24 bytes, expected 12"),
    "shape overflows 64 bits": (file(altered(shape=[1 << 33, 1 << 33])), "24 bytes, expected"),
    "offsets descend": (file(altered(data_offsets=[24, 0])), "ascending"),
    "offsets negative": (file(altered(data_offsets=[-24, 0])), "ascending"),
    "offsets of three": (file(altered(data_offsets=[0, 24, 24])), "ascending"),
    "offsets past the end": (file({"a": ONE}, 20), "where the last tensor ends"),
    "bytes at the end": (file({"a": ONE}, 25), "where the last tensor ends"),
    "bytes that nobody claims": (file({}, 1), "where the last tensor ends"),
    "a hole": (file({"a": ONE, "b": ONE | {"data_offsets": [28, 52]}}, 52), "a hole"),
    "a hole in front": (file(altered(data_offsets=[8, 32]), 32), "a hole"),
    "an overlap": (file({"a": ONE, "b": ONE | {"data_offsets": [20, 44]}}, 44), "an overlap"),
    "the same bytes twice": (file({"a": ONE, "b": ONE}), "an overlap"),
    "unaligned": (
        file({"a": {"dtype": "U8", "shape": [1], "data_offsets": [0, 1]}}
             | {"b": ONE | {"data_offsets": [1, 25]}}, 25),
        "aligned",
    ),
}  # fmt: skip


@pytest.mark.attack(47)
@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_file_is_refused(name: str) -> None:
    data, reason = HOSTILE[name]
    with pytest.raises(RemoteProtocolError, match=reason):
        entries(data)


def test_the_header_cap_is_exact() -> None:
    def padded(length: int) -> bytes:
        return length.to_bytes(8, "little") + b"{}".ljust(length)

    assert entries(padded(MAX_HEADER_BYTES)) == {}
    with pytest.raises(RemoteProtocolError, match="header length"):
        entries(padded(MAX_HEADER_BYTES + 1))


@st.composite
def headers(draw: st.DrawFn) -> bytearray:
    """Files that are nearly right, so that the fuzz gets past the first checks."""
    table, offset = {}, 0
    for name in draw(st.lists(st.text(max_size=3), max_size=4, unique=True)):
        shape = draw(st.lists(st.integers(0, 3), max_size=3))
        dtype = draw(st.sampled_from([*DTYPES, "F32", "BOOL"]))
        size = math.prod(shape) * getattr(DTYPES.get(dtype), "itemsize", 1)
        start = offset + draw(st.sampled_from([0, 0, 0, 0, 1, -1]))
        table[name] = {"dtype": dtype, "shape": shape, "data_offsets": [start, start + size]}
        offset = start + size
    return file(table, max(0, offset) % 256)


@given(headers(), st.lists(st.tuples(st.integers(0, 400), st.integers(0, 255)), max_size=3))
def test_whatever_is_accepted_reads_as_in_the_reference_package(
    data: bytearray, changes: list[tuple[int, int]]
) -> None:
    for place, byte in changes:
        data[place % len(data)] = byte
    try:
        found = entries(data)
    except RemoteProtocolError:
        return
    reference = dict(safetensors.deserialize(bytes(data)))  # type: ignore[no-untyped-call]
    assert found.keys() == reference.keys()
    for name, entry in found.items():
        assert list(entry.shape) == reference[name]["shape"]
        assert data[entry.start : entry.stop] == reference[name]["data"]
        assert view(data, entry).shape == entry.shape


@pytest.mark.attack(47)
@given(st.binary(max_size=200))
def test_noise_raises_the_declared_error_or_nothing(data: bytes) -> None:
    framed = len(data).to_bytes(8, "little") + data
    for candidate in (data, framed, (len(data) + 1).to_bytes(8, "little") + b"{" + data):
        try:
            entries(candidate)
        except RemoteProtocolError:
            continue
