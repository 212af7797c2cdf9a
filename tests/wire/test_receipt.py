from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from hypothesis import given
from hypothesis import strategies as st

from enclave.wire import cbor, claims, cose, receipt
from enclave.wire.errors import LocalProtocolError
from enclave.wire.receipt import CHECKS, Expected, Measurements, Receipt, ReceiptError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PUBLIC = KEY.public_key()
NOW = 1_740_500_000
RECEIPT = Receipt(
    issuer="issuer",
    issued_at=NOW,
    receipt_id=bytes(range(1, 17)),
    nonce=b"n" * 32,
    model_id="model",
    model_version="1",
    model_hash=b"m" * 32,
    request_hash=b"q" * 32,
    response_hash=b"r" * 32,
    attestation_hash=b"a" * 32,
    measurements=Measurements(b"0" * 48, b"1" * 48, b"2" * 48),
    policy_version="policy",
    sequence=7,
    execution_time_ms=12,
    memory_peak_mb=300,
    security_mode="production",
    model_hash_scheme="sha256-single",
)
SIGNED = receipt.issue(RECEIPT, KEY)
MESSAGE = cose.parse(SIGNED, tagged=True)
EVERYTHING = Expected(
    now=NOW,
    max_age_s=60,
    model_hash=b"m" * 32,
    request_hash=b"q" * 32,
    response_hash=b"r" * 32,
    attestation_hash=b"a" * 32,
    model_id="model",
    security_mode="production",
    platform="nitro-pcr",
    nonce=b"n" * 32,
    sequence=7,
    seen={bytes(16)},
    measurements=Measurements(b"0" * 48, b"1" * 48, b"2" * 48, pcr3=b"3" * 48),
)


def test_round_trip_with_and_without_expectations() -> None:
    assert receipt.verify(SIGNED, PUBLIC) == RECEIPT
    assert receipt.verify(SIGNED, PUBLIC, expected=EVERYTHING) == RECEIPT


def sign(payload: bytes, protected: bytes = receipt.PROTECTED) -> bytes:
    return cose.sign_ed25519(payload, KEY, protected=protected)


def header(value: object) -> bytes:
    return sign(MESSAGE.payload, cbor.encode(value))


def envelope(*fields: object) -> bytes:
    return b"\xd2" + cbor.encode(list(fields))


def claimed(**changes: Any) -> bytes:
    """Properly signed, with claims that `issue` may refuse."""
    return sign(claims.encode(replace(RECEIPT, **changes)))


def measured(**changes: Any) -> bytes:
    return claimed(measurements=replace(RECEIPT.measurements, **changes))


PROTECTED, PAYLOAD, SIGNATURE = MESSAGE.protected, MESSAGE.payload, MESSAGE.signature

# name: bytes, check, code. One thing is wrong in each; what is not about SIG is properly signed.
REFUSED: dict[str, tuple[bytes, str, str]] = {
    "too large": (bytes(65_537), "SIZE", "RECEIPT_TOO_LARGE"),
    "as large as may be": (bytes(65_536), "COSE_DECODE", "COSE_DECODE_FAILED"),
    "nothing": (b"", "COSE_DECODE", "COSE_DECODE_FAILED"),
    "no tag": (SIGNED[1:], "COSE_DECODE", "COSE_DECODE_FAILED"),
    "trailing byte": (SIGNED + b"\x00", "COSE_DECODE", "COSE_DECODE_FAILED"),
    "protected header not a map": (header([1]), "COSE_DECODE", "COSE_DECODE_FAILED"),
    "protected header empty": (sign(PAYLOAD, b""), "COSE_DECODE", "COSE_DECODE_FAILED"),
    "protected header with a trailing byte": (
        sign(PAYLOAD, PROTECTED + b"\x00"),
        "COSE_DECODE",
        "COSE_DECODE_FAILED",
    ),
    "two algorithms": (
        sign(PAYLOAD, b"\xa3\x01\x26\x01\x27\x03\x18\x3d"),
        "COSE_DECODE",
        "COSE_DECODE_FAILED",
    ),
    "protected header with more": (
        header({1: -8, 3: 61, 4: b"kid"}),
        "COSE_DECODE",
        "COSE_DECODE_FAILED",
    ),
    "algorithm as a float": (header({1: -8.0, 3: 61}), "COSE_DECODE", "COSE_DECODE_FAILED"),
    "unprotected header": (
        envelope(PROTECTED, {4: b"kid"}, PAYLOAD, SIGNATURE),
        "UNPROTECTED",
        "NON_EMPTY_UNPROTECTED",
    ),
    "another algorithm": (header({1: -7, 3: 61}), "ALG", "BAD_ALG"),
    "no algorithm": (header({3: 61}), "ALG", "BAD_ALG"),
    "another content type": (header({1: -8, 3: 60}), "CONTENT_TYPE", "BAD_CONTENT_TYPE"),
    "no content type": (header({1: -8}), "CONTENT_TYPE", "BAD_CONTENT_TYPE"),
    "empty payload": (sign(b""), "PAYLOAD", "MISSING_PAYLOAD"),
    "detached payload": (
        envelope(PROTECTED, {}, None, SIGNATURE),
        "PAYLOAD",
        "MISSING_PAYLOAD",
    ),
    "claims that are no map": (sign(b"\x01"), "CLAIMS_DECODE", "PAYLOAD_NOT_MAP"),
    "claims with a trailing byte": (sign(PAYLOAD + b"\x00"), "CLAIMS_DECODE", "PAYLOAD_NOT_MAP"),
    "claims out of order": (
        sign(PAYLOAD[:1] + PAYLOAD[8:] + PAYLOAD[1:8]),
        "CLAIMS_DECODE",
        "PAYLOAD_NOT_MAP",
    ),
    "another profile": (
        sign(PAYLOAD.replace(b"/air/v1", b"/air/v2")),
        "EAT_PROFILE",
        "WRONG_PROFILE",
    ),
    "signature of zeros": (
        envelope(PROTECTED, {}, PAYLOAD, bytes(64)),
        "SIG",
        "SIG_FAILED",
    ),
    "signature cut": (envelope(PROTECTED, {}, PAYLOAD, SIGNATURE[:63]), "SIG", "BAD_SIG_LENGTH"),
    "claims changed": (
        envelope(PROTECTED, {}, PAYLOAD.replace(b"issuer", b"ISSUER"), SIGNATURE),
        "SIG",
        "SIG_FAILED",
    ),
    "id of zeros": (claimed(receipt_id=bytes(16)), "CTI", "BAD_CTI_LENGTH"),
    "model hash of zeros": (claimed(model_hash=bytes(32)), "MHASH_PRESENT", "ZERO_MODEL_HASH"),
    "short pcr0": (measured(pcr0=bytes(32)), "MEAS", "BAD_MEASUREMENT_LENGTH"),
    "short pcr8": (measured(pcr8=bytes(47)), "MEAS", "BAD_MEASUREMENT_LENGTH"),
    "pcr8 under tdx": (
        measured(pcr8=bytes(48), measurement_type="tdx-mrtd-rtmr"),
        "MEAS",
        "UNEXPECTED_MEASUREMENT",
    ),
    "unknown measurements": (measured(measurement_type="sev-snp"), "MTYPE", "UNKNOWN_MTYPE"),
    "unknown scheme": (
        claimed(model_hash_scheme="sha1"),
        "MHASH_SCHEME",
        "UNKNOWN_MODEL_HASH_SCHEME",
    ),
    "unknown mode": (claimed(security_mode="debug"), "SECURITY_MODE", "UNKNOWN_SECURITY_MODE"),
}

# name: what is expected instead, check, code.
UNEXPECTED: dict[str, tuple[dict[str, Any], str, str]] = {
    "old": ({"now": NOW + 61}, "FRESH", "TIMESTAMP_STALE"),
    "of the future": ({"now": NOW - 61}, "FRESH", "TIMESTAMP_FUTURE"),
    "other model hash": ({"model_hash": b"x" * 32}, "MHASH", "MODEL_HASH_MISMATCH"),
    "other request": ({"request_hash": b"x" * 32}, "RHASH", "REQUEST_HASH_MISMATCH"),
    "other response": ({"response_hash": b"x" * 32}, "OHASH", "RESPONSE_HASH_MISMATCH"),
    "other document": ({"attestation_hash": b"x"}, "ADHASH", "ATTESTATION_DOC_HASH_MISMATCH"),
    "other model": ({"model_id": "other"}, "MODEL", "MODEL_ID_MISMATCH"),
    "other mode": (
        {"security_mode": "evaluation"},
        "SECURITY_MODE_POLICY",
        "SECURITY_MODE_MISMATCH",
    ),
    "other platform": ({"platform": "tdx-mrtd-rtmr"}, "PLATFORM", "PLATFORM_MISMATCH"),
    "other nonce": ({"nonce": b"x" * 32}, "NONCE", "NONCE_MISMATCH"),
    "part of the nonce": ({"nonce": b"n" * 31}, "NONCE", "NONCE_MISMATCH"),
    "earlier number": ({"sequence": 8}, "REPLAY", "SEQUENCE_MISMATCH"),
    "gap in numbers": ({"sequence": 6}, "REPLAY", "SEQUENCE_MISMATCH"),
    "seen before": ({"seen": {RECEIPT.receipt_id}}, "REPLAY", "REPLAY_CTI"),
    "other register": (
        {"measurements": replace(RECEIPT.measurements, pcr2=b"x" * 48)},
        "MEASUREMENTS",
        "MEASUREMENT_MISMATCH",
    ),
    "other kind of register": (
        {"measurements": replace(RECEIPT.measurements, measurement_type="tdx-mrtd-rtmr")},
        "MEASUREMENTS",
        "MEASUREMENT_MISMATCH",
    ),
}


def failure(data: bytes, key: Ed25519PublicKey, expected: Expected) -> ReceiptError:
    with pytest.raises(ReceiptError) as caught:
        receipt.verify(data, key, expected=expected)
    assert caught.value.layer == CHECKS[caught.value.step][0]
    return caught.value


@pytest.mark.parametrize(("data", "step", "code"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(data: bytes, step: str, code: str) -> None:
    error = failure(data, PUBLIC, Expected())
    assert (error.step, error.code) == (step, code)


@pytest.mark.attack(29, 30)
@pytest.mark.parametrize(("change", "step", "code"), UNEXPECTED.values(), ids=UNEXPECTED)
def test_unexpected_by_name(change: dict[str, Any], step: str, code: str) -> None:
    error = failure(SIGNED, PUBLIC, replace(EVERYTHING, **change))
    assert (error.step, error.code) == (step, code)


def test_every_check_has_a_test() -> None:
    tested = {step for _, step, _ in (*REFUSED.values(), *UNEXPECTED.values())}
    assert tested == set(CHECKS)


def test_layers_are_checked_in_order() -> None:
    """What fails everywhere fails at the first layer that can tell."""
    wrong = replace(EVERYTHING, model_id="other")
    zero = claims.encode(replace(RECEIPT, receipt_id=bytes(16)))
    unsigned = envelope(PROTECTED, {}, zero, SIGNATURE)
    unsigned_and_profile = envelope(PROTECTED, {}, zero.replace(b"/v1", b"/v2"), SIGNATURE)
    found = [failure(data, PUBLIC, wrong).step for data in (unsigned_and_profile, unsigned)]
    found += [failure(data, PUBLIC, wrong).step for data in (sign(zero), SIGNED)]
    assert found == ["EAT_PROFILE", "SIG", "CTI", "MODEL"]


@pytest.mark.attack(1, 29)
def test_a_nonce_that_is_expected_must_be_there() -> None:
    error = failure(claimed(nonce=None), PUBLIC, EVERYTHING)
    assert (error.step, error.code) == ("NONCE", "NONCE_MISSING")


@pytest.mark.attack(49)
def test_evaluation_has_to_be_asked_for() -> None:
    signed = receipt.issue(replace(RECEIPT, security_mode="evaluation"), KEY)
    assert failure(signed, PUBLIC, Expected()).step == "SECURITY_MODE_POLICY"
    expected = Expected(security_mode="evaluation")
    assert receipt.verify(signed, PUBLIC, expected=expected).security_mode == "evaluation"


@pytest.mark.attack(29)
def test_a_register_that_no_document_attests_is_refused() -> None:
    signed = measured(pcr8=b"8" * 48)
    error = failure(signed, PUBLIC, EVERYTHING)
    assert error.step == "MEASUREMENTS" and "pcr8" in error.hint


@pytest.mark.parametrize("now", [NOW - 60, NOW, NOW + 60])
def test_fresh_up_to_the_bounds(now: int) -> None:
    receipt.verify(SIGNED, PUBLIC, expected=Expected(now=now, max_age_s=60))


def test_an_age_needs_a_clock() -> None:
    with pytest.raises(LocalProtocolError, match="now"):
        receipt.verify(SIGNED, PUBLIC, expected=Expected(max_age_s=60))


@pytest.mark.parametrize(
    "change",
    [
        {"receipt_id": bytes(16)},
        {"model_hash": bytes(32)},
        {"security_mode": "debug"},
        {"model_hash_scheme": "sha1"},
        {"issuer": ""},
        {"measurements": Measurements(b"", b"", b"")},
        {"measurements": Measurements(*(bytes(48),) * 3, measurement_type="sev-snp")},
    ],
    ids=str,
)
def test_issue_refuses_what_verify_refuses(change: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        receipt.issue(replace(RECEIPT, **change), KEY)


@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_no_flipped_bit_goes_unseen(bit: int) -> None:
    changed = bytearray(SIGNED)
    changed[bit // 8] ^= 1 << bit % 8
    failure(bytes(changed), PUBLIC, Expected())


@given(st.binary(max_size=200))
def test_noise_is_refused(data: bytes) -> None:
    for wrapped in (data, sign(data), sign(PAYLOAD, data)):
        failure(wrapped, PUBLIC, Expected())


@given(st.integers(0, len(PAYLOAD) * 8 - 1))
def test_signed_nonsense_is_refused_or_means_what_it_says(bit: int) -> None:
    changed = bytearray(PAYLOAD)
    changed[bit // 8] ^= 1 << bit % 8
    try:
        found = receipt.verify(sign(bytes(changed)), PUBLIC)
    except ReceiptError:
        return
    assert claims.encode(found) == bytes(changed)
