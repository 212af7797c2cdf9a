from __future__ import annotations

from dataclasses import fields, replace
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from enclave.wire import cbor, claims
from enclave.wire.claims import Measurements, Receipt
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError

RECEIPT = Receipt(
    issuer="issuer",
    issued_at=1_740_500_000,
    receipt_id=bytes(range(1, 17)),
    nonce=b"n" * 32,
    model_id="model",
    model_version="1",
    model_hash=b"m" * 32,
    request_hash=b"q" * 32,
    response_hash=b"r" * 32,
    attestation_hash=b"a" * 32,
    measurements=Measurements(b"0" * 48, b"1" * 48, b"2" * 48, pcr4=b"4" * 48),
    policy_version="policy",
    sequence=7,
    execution_time_ms=12,
    memory_peak_mb=300,
    security_mode="production",
    model_hash_scheme="sha256-single",
)
CLAIMS = cast(dict[object, Any], cbor.decode(claims.encode(RECEIPT)))

texts = st.text(min_size=1, max_size=16)
hashes = st.binary(min_size=32, max_size=32)
registers = st.binary(min_size=48, max_size=48)
counts = st.integers(0, (1 << 64) - 1)
RECEIPTS = st.builds(
    Receipt,
    issuer=texts,
    issued_at=st.integers(1, (1 << 64) - 1),
    receipt_id=st.binary(min_size=16, max_size=16),
    nonce=st.none() | st.binary(min_size=8, max_size=64),
    model_id=texts,
    model_version=texts,
    model_hash=hashes,
    request_hash=hashes,
    response_hash=hashes,
    attestation_hash=hashes,
    measurements=st.builds(Measurements, registers, registers, registers, st.none() | registers),
    policy_version=texts,
    sequence=counts,
    execution_time_ms=counts,
    memory_peak_mb=counts,
    security_mode=texts,
    model_hash_scheme=st.none() | texts,
)


@given(RECEIPTS)
def test_round_trip(receipt: Receipt) -> None:
    assert claims.decode(claims.encode(receipt)) == receipt


def test_keys_are_those_of_the_specification() -> None:
    assert set(CLAIMS) == {1, 6, 7, 10, 265, *range(-65549, -65536)}
    assert CLAIMS[265] == "https://spec.cyntrisec.com/air/v1"
    assert set(CLAIMS[-65543]) == {"pcr0", "pcr1", "pcr2", "pcr4", "measurement_type"}


def test_optional_claims_are_left_out_not_null() -> None:
    encoded = claims.encode(replace(RECEIPT, nonce=None, model_hash_scheme=None))
    found = cbor.decode(encoded)
    assert type(found) is dict
    assert set(CLAIMS) - set(found) == {10, -65549}


def changed(key: int, value: object) -> dict[object, object]:
    return {**CLAIMS, key: value}


def without(key: int) -> dict[object, object]:
    return {known: value for known, value in CLAIMS.items() if known != key}


def measured(**values: object) -> dict[object, object]:
    found = {**CLAIMS[-65543], **values}
    return changed(-65543, {name: value for name, value in found.items() if value is not None})


REFUSED: dict[str, tuple[object, str]] = {
    "not a map": ([1], "not a map"),
    "unknown key": (changed(2, "subject"), "unknown claim 2"),
    "unknown private key": (changed(-65550, 0), "unknown claim -65550"),
    "unknown text key": ({**CLAIMS, "iss": "x"}, "unknown claim 'iss'"),
    "issuer missing": (without(1), "issuer"),
    "issuer empty": (changed(1, ""), "issuer: 0"),
    "issuer long": (changed(1, "i" * 257), "issuer: 257"),
    "issuer as bytes": (changed(1, b"issuer"), "issuer: bytes"),
    "issued at nothing": (changed(6, 0), "issued_at: 0"),
    "issued at a negative": (changed(6, -1), "issued_at: -1"),
    "issued at a float": (changed(6, 1.5), "issued_at: float"),
    "issued at a bool": (changed(6, True), "issued_at: bool"),
    "id missing": (without(7), "receipt_id"),
    "id of 15": (changed(7, bytes(15)), "receipt_id: 15"),
    "id of 17": (changed(7, bytes(17)), "receipt_id: 17"),
    "nonce of 7": (changed(10, bytes(7)), "nonce: 7"),
    "nonce of 65": (changed(10, bytes(65)), "nonce: 65"),
    "nonce null": (changed(10, None), "nonce: NoneType"),
    "nonce as an array": (changed(10, [bytes(8)]), "nonce: list"),
    "model empty": (changed(-65537, ""), "model_id: 0"),
    "model long": (changed(-65537, "m" * 257), "model_id: 257"),
    "model long in bytes": (changed(-65537, "é" * 129), "model_id: 258"),
    "version missing": (without(-65538), "model_version"),
    "version long": (changed(-65538, "1" * 129), "model_version: 129"),
    "model hash of 31": (changed(-65539, bytes(31)), "model_hash: 31"),
    "request hash missing": (without(-65540), "request_hash"),
    "response hash of 33": (changed(-65541, bytes(33)), "response_hash: 33"),
    "attestation hash as text": (changed(-65542, "a" * 32), "attestation_hash: str"),
    "measurements missing": (without(-65543), "measurements"),
    "measurements as an array": (changed(-65543, []), "measurements"),
    "measurement missing": (measured(pcr1=None), "measurements"),
    "measurement type missing": (measured(measurement_type=None), "measurements"),
    "measurement unknown": (measured(pcr5=bytes(48)), "measurements"),
    "measurement as text": (measured(pcr3="3" * 48), "pcr3"),
    "measurement type as bytes": (measured(measurement_type=b"nitro-pcr"), "measurement_type"),
    "policy long": (changed(-65544, "p" * 257), "policy_version: 257"),
    "sequence missing": (without(-65545), "sequence"),
    "sequence negative": (changed(-65545, -1), "sequence: -1"),
    "time as text": (changed(-65546, "12"), "execution_time_ms: str"),
    "memory as a float": (changed(-65547, 0.5), "memory_peak_mb: float"),
    "mode missing": (without(-65548), "security_mode"),
    "mode long": (changed(-65548, "p" * 65), "security_mode: 65"),
    "scheme long": (changed(-65549, "s" * 65), "model_hash_scheme: 65"),
    "scheme null": (changed(-65549, None), "model_hash_scheme: NoneType"),
    "nested too deeply": (changed(-65543, {"pcr0": {"a": 1}}), "nested"),
}


@pytest.mark.attack(29)
@pytest.mark.parametrize(("value", "fault"), REFUSED.values(), ids=REFUSED)
def test_refused(value: object, fault: str) -> None:
    with pytest.raises(RemoteProtocolError, match=fault) as caught:
        claims.decode(cbor.encode(value))
    assert not isinstance(caught.value, claims.ProfileError)


@pytest.mark.parametrize(
    "value",
    [without(265), changed(265, "https://spec.cyntrisec.com/air/v2"), changed(265, b"air")],
    ids=["missing", "another", "bytes"],
)
def test_another_profile_is_named(value: object) -> None:
    with pytest.raises(claims.ProfileError):
        claims.decode(cbor.encode(value))


@given(st.binary(max_size=120))
def test_noise_is_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        claims.decode(data)


@given(st.integers(0, len(claims.encode(RECEIPT)) * 8 - 1))
def test_a_flipped_bit_is_refused_or_changes_a_claim(bit: int) -> None:
    encoded = bytearray(claims.encode(RECEIPT))
    encoded[bit // 8] ^= 1 << bit % 8
    try:
        found = claims.decode(bytes(encoded))
    except RemoteProtocolError:
        return
    assert found != RECEIPT
    assert claims.encode(found) == bytes(encoded)


@pytest.mark.parametrize("field", [field.name for field in fields(Receipt)])
def test_a_claim_of_the_wrong_type_is_our_fault(field: str) -> None:
    wrong: Any = 1.5
    if field == "measurements":
        wrong = Measurements("0" * 48, b"1" * 48, b"2" * 48)  # type: ignore[arg-type]
    with pytest.raises(LocalProtocolError, match="pcr0" if field == "measurements" else field):
        claims.encode(replace(RECEIPT, **{field: wrong}))
