"""Quantisation by itself: bounds of the round trip, its edges, and what it refuses."""

from __future__ import annotations

import json
import math
import re
from collections.abc import Callable, Iterator

import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from torch import Tensor

from bench.weights import quantise
from enclave.models import safetensors
from enclave.models.quantised import GROUP, widened
from enclave.wire.errors import RemoteProtocolError

NAME = "layer.weight"


def rows(*values: list[float]) -> quantise.Floats:
    return np.array(values, dtype=np.float32)


def group(*values: float) -> quantise.Floats:
    """One row of one group, the rest zero."""
    return rows([*values, *[0.0] * (GROUP - len(values))])


def file(values: quantise.Floats, dtype: str = "F32", name: str = NAME) -> bytes:
    data = values.tobytes() if dtype == "F32" else values.astype(np.float16).tobytes()
    return quantise.head({name: (dtype, values.shape, len(data))}) + data


def made(values: quantise.Floats, precision: str, dtype: str = "F32") -> dict[str, Tensor]:
    """What a file of this one tensor holds in that precision."""
    data = bytearray(b"".join(quantise.quantise([file(values, dtype)], {NAME: precision})))
    return {name: safetensors.view(data, at) for name, at in safetensors.entries(data).items()}


def back(values: quantise.Floats, precision: str) -> quantise.Floats:
    """There and back again."""
    found = made(values, precision)
    restored: quantise.Floats = widened(found[NAME], found.get(f"{NAME}.scale")).numpy()
    return restored


def matrices(outputs: int, inputs: int) -> st.SearchStrategy[quantise.Floats]:
    """Zeros and values of any size whose scales are ordinary numbers."""
    sizes = st.floats(2.0**-60, 2.0**100, width=32)
    values = st.just(0.0) | sizes | sizes.map(lambda value: -value)
    return arrays.arrays(np.float32, (outputs, inputs), elements=values)


# How far the way there and back leads.


@given(matrices(3, 5))
def test_bf16_is_off_by_at_most_one_part_in_256(values: quantise.Floats) -> None:
    assert (np.abs(back(values, "bf16") - values) <= np.abs(values) / 256).all()


@given(matrices(3, 8))
def test_q8_is_off_by_at_most_half_a_step_of_its_row(values: quantise.Floats) -> None:
    step = np.abs(values).max(axis=1, keepdims=True) / 127
    assert (np.abs(back(values, "q8") - values) <= step * 0.5001).all()


@given(matrices(2, 2 * GROUP))
def test_q4_is_off_by_at_most_a_step_of_its_group(values: quantise.Floats) -> None:
    """Half a step within -8 to 7, up to one at the far end; scales are rounded to bfloat16."""
    groups = values.reshape(2, 2, GROUP)
    step = np.abs(groups).max(axis=-1, keepdims=True) / 8
    off = np.abs(back(values, "q4").reshape(groups.shape) - groups)
    assert (off <= step * 1.04).all()


@pytest.mark.parametrize(("precision", "bound"), [("bf16", 0.002), ("q8", 0.01), ("q4", 0.1)])
def test_ordinary_weights_keep_most_of_what_they_say(precision: str, bound: float) -> None:
    values = np.random.default_rng(1).normal(0, 0.02, (64, 256)).astype(np.float32)
    error = float(np.std(back(values, precision) - values) / np.std(values))
    assert bound / 10 < error < bound


# Edges.


@pytest.mark.parametrize("precision", ["fp32", "bf16", "q8", "q4"])
def test_rows_of_zeros_stay_zeros_beside_others(precision: str) -> None:
    values = np.zeros((3, GROUP), np.float32)
    values[1] = 0.5
    found = back(values, precision)
    assert not found[0].any() and not found[2].any()
    assert found[1] == pytest.approx([0.5] * GROUP)


def test_the_scale_of_nothing_is_one() -> None:
    nothing = np.zeros((2, 2 * GROUP), np.float32)
    for precision in ("q8", "q4"):
        scale = made(nothing, precision)[f"{NAME}.scale"]
        assert set(scale.flatten().tolist()) == {1}
    packed = made(nothing, "q4")[NAME]
    assert set(packed.flatten().tolist()) == {0x88}  # 8 twice, which means 0


def test_q8_rounds_halves_to_even() -> None:
    """A row whose largest is 127 has scale 1."""
    values = rows([127, 0.5, 1.5, 2.5, -0.5, -1.5, 3.49, 3.51])
    assert made(values, "q8")[NAME].tolist() == [[127, 0, 2, 2, 0, -2, 3, 4]]


def test_q4_rounds_halves_to_even_and_the_largest_becomes_zero() -> None:
    """A group whose value of largest magnitude is -8 has scale 1; a number is its value + 8."""
    packed = made(group(-8, 0.5, 1.5, 2.5, -0.5, -1.5, 7, 7.9), "q4")[NAME][0, :4].tolist()
    assert [(pair & 15, pair >> 4) for pair in packed] == [(0, 8), (10, 10), (8, 6), (15, 15)]


def test_q4_turns_its_scale_where_the_largest_is_positive() -> None:
    found = made(group(8, -7, 0.5), "q4")
    assert found[f"{NAME}.scale"].tolist() == [[-1]]
    assert back(group(8, -7, 0.5), "q4")[0, :3].tolist() == [8, -7, 0]


@pytest.mark.parametrize(
    ("bits", "expected"),
    [
        (0x3F808000, 0x3F80),  # half way, even below
        (0x3F818000, 0x3F82),  # half way, even above
        (0x3F808001, 0x3F81),
        (0x3F807FFF, 0x3F80),
        (0xBF818000, 0xBF82),
        (0x3FFFFFFF, 0x4000),  # carries into the exponent
        (0x00000001, 0x0000),
    ],
)
def test_bf16_rounds_halves_to_even(bits: int, expected: int) -> None:
    values = np.array([[bits]], np.uint32).view(np.float32)
    assert quantise.bf16(values).tolist() == [[expected]]
    assert torch.from_numpy(values).bfloat16().view(torch.uint16).tolist() == [[expected]]


@given(st.floats(width=32, allow_nan=False))
def test_bf16_rounds_as_torch_does(value: float) -> None:
    values = rows([value])
    assert quantise.bf16(values).tolist() == (
        torch.from_numpy(values).bfloat16().view(torch.uint16).tolist()
    )


def test_half_precision_and_bfloat16_come_in_as_what_they_stand_for() -> None:
    values = rows([1, -0.5, 0.25])
    assert made(values, "fp32", "F16")[NAME].tolist() == values.tolist()
    data = quantise.head({NAME: ("BF16", (1, 3), 6)}) + quantise.bf16(values).tobytes()
    out = bytearray(b"".join(quantise.quantise([data], {})))
    assert safetensors.view(out, safetensors.entries(out)[NAME]).tolist() == values.tolist()


# The stream.


@pytest.mark.parametrize("precision", ["fp32", "bf16", "q8", "q4"])
@pytest.mark.parametrize("size", [1, 7, 1000])
def test_pieces_of_any_size_give_the_same_file(
    precision: str, size: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    values = np.random.default_rng(2).normal(size=(6, 2 * GROUP)).astype(np.float32)
    data = file(values)
    whole = b"".join(quantise.quantise([data], {NAME: precision}))
    monkeypatch.setattr(quantise, "PIECE", 2 * GROUP)  # a row at a time
    parts = (data[at : at + size] for at in range(0, len(data), size))
    assert b"".join(quantise.quantise(parts, {NAME: precision})) == whole


def test_what_needs_no_change_comes_as_it_is() -> None:
    header = b'{ "b":{"dtype":"F32","shape":[1],"data_offsets":[0,4]}, "__metadata__":{"a":"b"}}'
    data = len(header).to_bytes(8, "little") + header + rows([1]).tobytes()
    assert b"".join(quantise.quantise([data], {})) == data


# Refusals.


@pytest.mark.parametrize("value", [math.inf, -math.inf, math.nan])
@pytest.mark.parametrize("precision", ["bf16", "q8", "q4"])
def test_a_value_that_is_not_finite_is_refused(value: float, precision: str) -> None:
    with pytest.raises(RemoteProtocolError, match=rf"tensor {NAME}: a value that is not finite"):
        made(group(value), precision)


@pytest.mark.parametrize(
    ("precision", "shape", "expected"),
    [
        ("q4", (1, 36), "rows of a multiple of 32"),
        ("q8", (1, 33), "rows of a multiple of 4"),
        ("q4", (32,), "rows"),
        ("q8", (32,), "rows"),
        ("q8", (1, 1, 32), "rows"),
    ],
)
def test_a_shape_without_rows_of_whole_groups_is_refused(
    precision: str, shape: tuple[int, ...], expected: str
) -> None:
    message = re.escape(f"{NAME}: found shape {shape}, expected {expected}")
    with pytest.raises(RemoteProtocolError, match=message):
        made(np.ones(shape, np.float32), precision)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda data: data[:-1], "ends 1 bytes too early"),
        (lambda data: data + b"\0", "bytes after the last tensor"),
        (lambda data: data[:4], "ends 4 bytes too early"),
        (lambda data: b"\xff" * 8 + data, "a header of 18446744073709551615 bytes"),
        (lambda data: data.replace(b'"dtype"', b'"dtipe"'), "KeyError"),
        (lambda data: data.replace(b"{", b"[", 1), "header"),
    ],
)
def test_a_file_that_is_none_is_refused(spoil: Callable[[bytes], bytes], message: str) -> None:
    data = spoil(file(group(1.0)))
    with pytest.raises(RemoteProtocolError, match=message):
        list(quantise.quantise([data], {NAME: "q8"}))


# Parts of one file.


def test_a_body_belongs_to_its_header() -> None:
    data = file(rows([1, 2]))

    def chunks() -> Iterator[bytes]:
        yield from (data[at : at + 5] for at in range(0, len(data), 5))

    begin = quantise.header(chunks())
    assert json.loads(begin)[NAME]["shape"] == [1, 2]
    assert b"".join(quantise.body(chunks(), begin)) == rows([1, 2]).tobytes()
    with pytest.raises(RemoteProtocolError, match="changed while it was read"):
        list(quantise.body(chunks(), begin.replace(b"layer", b"liver")))
