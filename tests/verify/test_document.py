"""Payloads that break one rule of the syntax. Where it matters their signature is right."""

from __future__ import annotations

import tracemalloc

import cbor2
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.emulators.nsm import encode_payload
from bench.verify import document
from enclave.wire.errors import VerificationError
from tests.verify import forge

HONEST = encode_payload(forge.fields(), indefinite_map=False)


def refused(step: str, payload: bytes) -> VerificationError:
    """Refused with a signature that is right."""
    with pytest.raises(VerificationError) as caught:
        forge.authenticate(forge.signed(payload))
    assert caught.value.step == step
    return caught.value


def changed(**changes: object) -> bytes:
    return encode_payload(forge.fields(**changes), indefinite_map=False)


def without(name: str) -> bytes:
    fields = forge.fields()
    del fields[name]
    return encode_payload(fields, indefinite_map=False)


def spliced(name: str, value: bytes) -> bytes:
    """The honest payload with `value` as the encoding of one field."""
    pairs = [
        cbor2.dumps(key) + (value if key == name else cbor2.dumps(honest))
        for key, honest in forge.fields().items()
    ]
    return bytes([0xA0 + len(pairs)]) + b"".join(pairs)


@pytest.mark.attack(8)
def test_both_forms_of_the_outermost_map_mean_the_same() -> None:
    definite = forge.authenticate(forge.signed(HONEST))
    indefinite = forge.authenticate(
        forge.signed(encode_payload(forge.fields(), indefinite_map=True))
    )
    assert definite.pcrs == indefinite.pcrs
    assert definite.payload_sha256 != indefinite.payload_sha256


@pytest.mark.parametrize("name", sorted(document.OPTIONAL))
def test_an_optional_field_may_be_null_or_absent(name: str) -> None:
    assert getattr(forge.authenticate(forge.signed(changed(**{name: None}))), name) is None
    assert getattr(forge.authenticate(forge.signed(without(name))), name) is None


@pytest.mark.parametrize("name", sorted(document.REQUIRED))
def test_a_missing_field_is_refused(name: str) -> None:
    assert name in str(refused("fields", without(name)))


@pytest.mark.attack(10)
@pytest.mark.parametrize("name", sorted(document.REQUIRED))
def test_a_required_field_that_is_null_is_refused(name: str) -> None:
    refused(f"field {name}", changed(**{name: None}))


@pytest.mark.attack(10)
def test_an_unknown_field_is_refused() -> None:
    assert "extra" in str(refused("fields", changed(extra=b"")))


def test_a_field_named_by_a_number_is_refused() -> None:
    refused("fields", encode_payload({**forge.fields(), 7: b""}, indefinite_map=False))  # type: ignore[dict-item]


@pytest.mark.attack(10)
@pytest.mark.parametrize(
    ("name", "value", "step"),
    [
        ("module_id", b"i-0-enc0", "field module_id"),
        ("module_id", "", "field module_id"),
        ("digest", b"SHA384", "field digest"),
        ("digest", "SHA256", "field digest"),
        ("digest", "sha384", "field digest"),
        ("timestamp", 0, "field timestamp"),
        ("timestamp", 2**64 - 1, "field timestamp"),
        ("timestamp", "1780315200000", "field timestamp"),
        ("timestamp", -1, "payload"),
        ("timestamp", 1780315200000.5, "payload"),
        ("timestamp", True, "payload"),
        ("pcrs", {}, "field pcrs"),
        ("pcrs", [bytes(48)], "field pcrs"),
        ("pcrs", {32: bytes(48)}, "field pcrs index"),
        ("pcrs", {"0": bytes(48)}, "field pcrs index"),
        ("pcrs", {-1: bytes(48)}, "payload"),
        ("pcrs", {True: bytes(48)}, "payload"),
        ("pcrs", {0: bytes(32)}, "field pcrs 0"),
        ("pcrs", {0: bytes(64)}, "field pcrs 0"),
        ("pcrs", {0: "0" * 48}, "field pcrs 0"),
        ("pcrs", {0: None}, "field pcrs 0"),
        ("certificate", b"", "field certificate"),
        ("certificate", bytes(1025), "field certificate"),
        ("certificate", "der", "field certificate"),
        ("cabundle", [], "field cabundle"),
        ("cabundle", [b""], "field cabundle"),
        ("cabundle", [bytes(1025)], "field cabundle"),
        ("cabundle", ["der"], "field cabundle"),
        ("cabundle", {0: b"der"}, "field cabundle"),
        ("cabundle", b"der", "field cabundle"),
        ("public_key", b"", "field public_key"),
        ("public_key", bytes(1025), "field public_key"),
        ("public_key", list(range(20)), "field public_key"),
        ("user_data", bytes(513), "field user_data"),
        ("user_data", "text", "field user_data"),
        ("nonce", bytes(513), "field nonce"),
        ("nonce", False, "payload"),
        ("nonce", cbor2.undefined, "payload"),
    ],
)
def test_a_field_of_another_type_or_size_is_refused(name: str, value: object, step: str) -> None:
    refused(step, changed(**{name: value}))


@pytest.mark.attack(15)
def test_pcr_31_is_the_last() -> None:
    pcrs = {31: b"\x01" * 48}
    assert forge.authenticate(forge.document(pcrs=pcrs)).pcrs == pcrs


def test_the_limits_themselves_are_accepted() -> None:
    large = {"public_key": bytes(1024), "user_data": bytes(512), "nonce": bytes(512)}
    found = forge.authenticate(forge.document(**large))
    assert (found.public_key, found.user_data) == (bytes(1024), bytes(512))


def test_empty_user_data_is_not_absent_user_data() -> None:
    assert forge.authenticate(forge.document(user_data=b"")).user_data == b""


@pytest.mark.attack(7)
def test_a_repeated_field_is_refused() -> None:
    pair = cbor2.dumps("nonce") + cbor2.dumps(forge.NONCE)
    refused("payload", bytes([HONEST[0] + 1]) + HONEST[1:] + pair)


@pytest.mark.attack(7)
def test_a_repeated_field_in_an_indefinite_map_is_refused() -> None:
    pair = cbor2.dumps("nonce") + cbor2.dumps(forge.NONCE)
    refused("payload", b"\xbf" + HONEST[1:] + pair + b"\xff")


@pytest.mark.attack(7)
def test_a_repeated_pcr_is_refused() -> None:
    pair = cbor2.dumps(0) + cbor2.dumps(forge.PCRS[0])
    refused("payload", spliced("pcrs", b"\xa2" + pair + pair))


@pytest.mark.attack(7)
def test_a_pcr_repeated_in_a_longer_form_is_refused() -> None:
    pair = cbor2.dumps(0) + cbor2.dumps(forge.PCRS[0])
    refused("payload", spliced("pcrs", b"\xa2" + pair + b"\x18\x00" + pair[1:]))


@pytest.mark.attack(8)
@pytest.mark.parametrize(
    ("name", "value"),
    [
        ("pcrs", b"\xbf\x00" + cbor2.dumps(bytes(48)) + b"\xff"),
        ("cabundle", b"\x9f" + cbor2.dumps(b"der") + b"\xff"),
        ("certificate", b"\x5f" + cbor2.dumps(b"der") + b"\xff"),
        ("module_id", b"\x7f" + cbor2.dumps("i-0") + b"\xff"),
    ],
)
def test_indefinite_lengths_anywhere_else_are_refused(name: str, value: bytes) -> None:
    refused("payload", spliced(name, value))


@pytest.mark.attack(9)
@pytest.mark.parametrize("tag", ["c0", "c1", "c2", "d81c", "d81d", "d90100", "d9d9f7"])
def test_tags_are_refused(tag: str) -> None:
    refused("payload", spliced("nonce", bytes.fromhex(tag) + cbor2.dumps(forge.NONCE)))


@pytest.mark.attack(9)
def test_a_tag_before_the_payload_is_refused() -> None:
    refused("payload", bytes.fromhex("d9d9f7") + HONEST)


@pytest.mark.attack(10)
@pytest.mark.parametrize(
    "value", ["1800", "1817", "190018", "1a0000ffff", "1b00000000ffffffff", "1c", "1f"]
)
def test_longer_and_reserved_forms_of_a_number_are_refused(value: str) -> None:
    refused("payload", spliced("timestamp", bytes.fromhex(value)))


@pytest.mark.attack(10)
@pytest.mark.parametrize("value", ["f4", "f5", "f7", "f0", "f8ff", "f97e00", "fb3ff0000000000000"])
def test_simple_values_and_floats_are_refused(value: str) -> None:
    refused("payload", spliced("timestamp", bytes.fromhex(value)))


def test_text_that_is_not_utf8_is_refused() -> None:
    refused("payload", spliced("module_id", b"\x62\xc3\x28"))


@pytest.mark.attack(9)
def test_nesting_beyond_the_fields_is_refused() -> None:
    refused("payload", changed(cabundle=[[b"der"]]))


@pytest.mark.attack(9)
def test_thousands_of_levels_are_refused() -> None:
    refused("payload", b"\x81" * 16000)


def test_a_payload_that_is_no_map_is_refused() -> None:
    refused("payload", cbor2.dumps([b"der"]))


@pytest.mark.attack(10)
def test_a_byte_after_the_payload_is_refused() -> None:
    refused("payload", HONEST + b"\0")


@pytest.mark.attack(10)
def test_a_byte_after_the_break_is_refused() -> None:
    refused("payload", encode_payload(forge.fields(), indefinite_map=True) + b"\xf6")


@pytest.mark.attack(8)
def test_an_indefinite_map_without_its_break_is_refused() -> None:
    refused("payload", encode_payload(forge.fields(), indefinite_map=True)[:-1])


@pytest.mark.attack(8)
def test_a_break_in_place_of_a_value_is_refused() -> None:
    refused("payload", b"\xbf" + cbor2.dumps("nonce") + b"\xff")


@pytest.mark.attack(9)
def test_a_payload_over_its_limit_is_refused() -> None:
    refused("payload", changed(extra=bytes(document.MAX_PAYLOAD_BYTES)))


@pytest.mark.attack(9)
@pytest.mark.parametrize(
    "length", ["18ff", "19ffff", "1affffffff", "1b7fffffffffffffff", "1b" + "ff" * 8]
)
@pytest.mark.parametrize("major", [document.BYTES, document.TEXT, document.ARRAY, document.MAP])
def test_a_false_length_costs_nothing(major: int, length: str) -> None:
    """Neither memory nor rounds by the claimed length."""
    head = bytes.fromhex(length)
    claimed = bytes([major << 5 | head[0]]) + head[1:]
    for payload in (claimed, claimed + b"\x01", b"\xa1\x61a" + claimed, b"\xbf" + claimed):
        tracemalloc.start()
        with pytest.raises(VerificationError):
            document.read(payload)
        peak = tracemalloc.get_traced_memory()[1]
        tracemalloc.stop()
        assert peak < 64 * 1024


def test_every_cut_is_refused() -> None:
    for end in range(len(HONEST)):
        with pytest.raises(VerificationError):
            document.read(HONEST[:end])


VALUES = st.recursive(
    st.none() | st.booleans() | st.integers(-(2**64), 2**64 - 1) | st.binary() | st.text(),
    lambda inner: (
        st.lists(inner, max_size=4) | st.dictionaries(st.integers() | st.text(), inner, max_size=4)
    ),
    max_leaves=12,
)


@settings(deadline=None)
@given(st.dictionaries(st.sampled_from(sorted(forge.fields())) | st.text(), VALUES))
def test_any_map_is_read_or_refused_by_name(changes: dict[str, object]) -> None:
    try:
        found = document.read(changed(**changes))
    except VerificationError:
        return
    assert found.digest == "SHA384"


@settings(deadline=None)
@given(st.binary(max_size=200))
def test_any_bytes_are_refused_by_name(data: bytes) -> None:
    with pytest.raises(VerificationError):
        document.read(data)


@settings(deadline=None)
@given(VALUES)
def test_what_is_decoded_encodes_to_the_same_bytes(value: object) -> None:
    """No two encodings of one value are read, but for the outermost map."""
    data = cbor2.dumps(value)
    try:
        found = document.decode(data)
    except VerificationError:
        return
    assert cbor2.dumps(found) == data
