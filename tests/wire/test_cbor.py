from __future__ import annotations

import math
import struct
from collections.abc import Callable
from enum import IntEnum
from types import MappingProxyType

import cbor2
import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.wire import cbor
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError

# RFC 8949 appendix A, those of its examples that are in the profile.
EXAMPLES = [
    (0, "00"),
    (23, "17"),
    (24, "1818"),
    (255, "18ff"),
    (256, "190100"),
    (65535, "19ffff"),
    (65536, "1a00010000"),
    (1000000000000, "1b000000e8d4a51000"),
    (18446744073709551615, "1bffffffffffffffff"),
    (-1, "20"),
    (-24, "37"),
    (-25, "3818"),
    (-1000, "3903e7"),
    (-18446744073709551616, "3bffffffffffffffff"),
    (0.0, "f90000"),
    (-0.0, "f98000"),
    (1.5, "f93e00"),
    (65504.0, "f97bff"),
    (100000.0, "fa47c35000"),
    (3.4028234663852886e38, "fa7f7fffff"),
    (1.1, "fb3ff199999999999a"),
    (1.0e300, "fb7e37e43c8800759c"),
    (5.960464477539063e-8, "f90001"),
    (False, "f4"),
    (True, "f5"),
    (None, "f6"),
    (b"", "40"),
    (b"\x01\x02\x03\x04", "4401020304"),
    ("", "60"),
    ("IETF", "6449455446"),
    ('"\\', "62225c"),
    ("水", "63e6b0b4"),
    ([], "80"),
    ([1, [2, 3], [4, 5]], "8301820203820405"),
    ({}, "a0"),
    ({1: 2, 3: 4}, "a201020304"),
    ({"a": 1, "b": [2, 3]}, "a26161016162820203"),
    # 4.2.1 orders keys by their encoding, where RFC 7049 put the shorter ones first.
    ({-1: 0, 30: 0, b"": 0, "": 0}, "a4181e002000400060" + "00"),
]

REFUSED = {  # name: encoding, what the message says
    "nothing": ("", "too early"),
    "int longer than needed": ("1817", "not the shortest"),
    "int of 2 bytes for 1": ("1900ff", "not the shortest"),
    "int of 4 bytes for 2": ("1a0000ffff", "not the shortest"),
    "int of 8 bytes for 4": ("1b00000000ffffffff", "not the shortest"),
    "negative longer than needed": ("3817", "not the shortest"),
    "length longer than needed": ("580401020304", "not the shortest"),
    "array count longer than needed": ("980101", "not the shortest"),
    "map count longer than needed": ("b8010101", "not the shortest"),
    "cut int": ("1a0102", "too early"),
    "cut byte string": ("4401", "too early"),
    "cut text": ("6261", "too early"),
    "cut array": ("8201", "too early"),
    "cut map": ("a101", "too early"),
    "cut float": ("fb3ff1", "unknown, cut or longer"),
    "length beyond memory": ("5bffffffffffffffff", "too early"),
    "count beyond memory": ("9bffffffffffffffff", "too early"),
    "pairs beyond memory": ("bbffffffffffffffff", "too early"),
    "reserved length": ("1c", "indefinite or reserved"),
    "indefinite byte string": ("5f4101ff", "indefinite or reserved"),
    "indefinite text": ("7f6161ff", "indefinite or reserved"),
    "indefinite array": ("9f01ff", "indefinite or reserved"),
    "indefinite map": ("bf0101ff", "indefinite or reserved"),
    "break": ("ff", "unknown, cut or longer"),
    "tag 0, a date": ("c074323031332d30332d32315432303a30343a30305a", "tags are refused"),
    "tag 2, a bignum": ("c24101", "tags are refused"),
    "tag 28, a shared reference": ("d81c80", "tags are refused"),
    "tag 35, a regular expression": ("d8236161", "tags are refused"),
    "tag 55799, self-described": ("d9d9f700", "tags are refused"),
    "undefined": ("f7", "unknown, cut or longer"),
    "simple value": ("f0", "unknown, cut or longer"),
    "simple value of a byte": ("f8ff", "unknown, cut or longer"),
    "nan": ("f97e00", "unknown, cut or longer"),
    "infinity": ("f97c00", "unknown, cut or longer"),
    "float for a half": ("fa3f800000", "unknown, cut or longer"),
    "double for a half": ("fb3ff0000000000000", "unknown, cut or longer"),
    "double for a float": ("fb40f86a0000000000", "unknown, cut or longer"),
    "text that is not utf-8": ("61ff", "not utf-8"),
    "text with a surrogate": ("63eda080", "not utf-8"),
    "repeated key": ("a201010102", "out of order or repeated"),
    "keys out of order": ("a202000100", "out of order or repeated"),
    "keys in the order of RFC 7049": ("a22000181e00", "out of order or repeated"),
    "key that is a bool": ("a1f400", "no int, str or bytes"),
    "key that is null": ("a1f600", "no int, str or bytes"),
    "key that is a float": ("a1f9000000", "no int, str or bytes"),
    "key that is an array": ("a18000", "nested too deeply"),
    "key that is a map": ("a1a000", "nested too deeply"),
    "trailing byte": ("0000", "1 more follow"),
    "trailing nothing in a map": ("a000", "1 more follow"),
}

VALUES = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 64), (1 << 64) - 1)
    | st.floats(allow_nan=False, allow_infinity=False)
    | st.text(max_size=30)
    | st.binary(max_size=30),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.integers(-(1 << 64), (1 << 64) - 1) | st.text(max_size=8) | st.binary(max_size=8),
            inner,
            max_size=4,
        )
    ),
    max_leaves=12,
)


def same(one: object, other: object) -> bool:
    """Equal in type as well as value, where Python says 1 == True == 1.0."""
    return repr(one) == repr(other)


@pytest.mark.parametrize(("value", "encoding"), EXAMPLES)
def test_examples_of_the_rfc(value: object, encoding: str) -> None:
    assert cbor.encode(value).hex() == encoding
    found = cbor.decode(bytes.fromhex(encoding))
    assert found == value and type(found) is type(value)


@pytest.mark.attack(7, 8, 9, 10)
@pytest.mark.parametrize(("encoding", "fault"), REFUSED.values(), ids=REFUSED)
def test_refused(encoding: str, fault: str) -> None:
    with pytest.raises(RemoteProtocolError, match=fault):
        cbor.decode(bytes.fromhex(encoding))


@given(VALUES)
def test_round_trip_and_another_decoder_agrees(value: object) -> None:
    encoded = cbor.encode(value)
    assert cbor.encode(cbor.decode(encoded, max_depth=100)) == encoded
    assert cbor2.loads(encoded) == value


@given(VALUES)
def test_the_order_of_a_map_leaves_no_trace(value: object) -> None:
    pairs = [(0, value), ("z", 1), (-1, 2), (b"b", 3), (1 << 40, 4)]
    assert cbor.encode(dict(pairs)) == cbor.encode(dict(reversed(pairs)))


@given(st.binary(max_size=60))
def test_noise_is_refused_or_is_the_one_encoding(data: bytes) -> None:
    try:
        value = cbor.decode(data)
    except RemoteProtocolError:
        return
    assert cbor.encode(value) == data
    assert cbor2.loads(data) == value


@given(VALUES, st.data())
def test_a_flipped_bit_changes_the_meaning_or_is_refused(
    value: object, data: st.DataObject
) -> None:
    encoded = cbor.encode(value)
    changed = bytearray(encoded)
    bit = data.draw(st.integers(0, len(encoded) * 8 - 1))
    changed[bit // 8] ^= 1 << bit % 8
    try:
        found = cbor.decode(changed, max_depth=100)
    except RemoteProtocolError:
        return
    assert not same(found, cbor.decode(encoded, max_depth=100))
    assert cbor.encode(found) == bytes(changed)


@given(st.integers(0, 0xFFFF))
def test_every_half_is_read_as_it_is_or_refused(bits: int) -> None:
    data = b"\xf9" + bits.to_bytes(2, "big")
    (value,) = struct.unpack(">e", data[1:])
    if math.isfinite(value):
        assert cbor.encode(cbor.decode(data)) == data
    else:
        with pytest.raises(RemoteProtocolError):
            cbor.decode(data)


def test_depth_counts_arrays_and_maps() -> None:
    data = cbor.encode([{1: [{2: [[]]}]}])
    assert cbor.decode(data) == [{1: [{2: [[]]}]}]
    with pytest.raises(RemoteProtocolError, match="nested too deeply"):
        cbor.decode(data, max_depth=5)


@pytest.mark.attack(9)
def test_a_deep_nest_is_refused_before_the_stack_ends() -> None:
    with pytest.raises(RemoteProtocolError, match="nested too deeply"):
        cbor.decode(b"\x81" * 60_000)


@pytest.mark.attack(9)
def test_size_is_bounded() -> None:
    data = cbor.encode(bytes(100))
    assert cbor.decode(data, max_bytes=102) == bytes(100)
    with pytest.raises(RemoteProtocolError, match="limit 101"):
        cbor.decode(data, max_bytes=101)


@pytest.mark.parametrize("kind", [bytes, bytearray, memoryview])
def test_buffers_are_read_and_written_as_bytes(kind: Callable[[bytes], bytes]) -> None:
    assert cbor.encode(kind(b"ab")) == b"\x42ab"
    found = cbor.decode(kind(b"\x42ab"))
    assert found == b"ab" and type(found) is bytes


def test_tuples_and_mappings_are_written() -> None:
    assert cbor.encode((1, 2)) == cbor.encode([1, 2])
    assert cbor.encode(MappingProxyType({1: 2})) == cbor.encode({1: 2})


class _Number(IntEnum):
    ONE = 1


@pytest.mark.parametrize(
    "value",
    [
        1 << 64,
        -(1 << 64) - 1,
        math.nan,
        math.inf,
        "\ud800",
        {1, 2},
        object(),
        _Number.ONE,
        {True: 1},
        {1.0: 1},
        {None: 1},
        {(1,): 1},
        [[1 << 64]],
    ],
    ids=repr,
)
def test_what_has_no_encoding_is_our_fault(value: object) -> None:
    with pytest.raises(LocalProtocolError):
        cbor.encode(value)


@pytest.mark.parametrize("value", [value for value, _ in EXAMPLES])
def test_what_was_encoded_before_is_written_as_it_is(value: object) -> None:
    before = cbor.Encoded(cbor.encode(value))
    assert cbor.encode([before, {1: before}]) == cbor.encode([value, {1: value}])
