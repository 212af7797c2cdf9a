"""What is authentic, rule by rule, on documents made on the fly by the emulator.

Chains and payloads have files of their own.
"""

from __future__ import annotations

import tracemalloc
from dataclasses import replace

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.emulators import pki
from bench.emulators.nsm import NsmEmulator, encode_payload
from bench.verify import nitro
from enclave.tee.nsm import Nsm
from enclave.wire import cose
from enclave.wire.errors import VerificationError
from tests.verify import forge
from tests.verify.forge import CURVE_ORDER, NONCE, NOW, PCRS, PUBLIC_KEY

FRESH = Nsm(forge.emulator().transact).attest(
    public_key=PUBLIC_KEY, user_data=b"claims", nonce=NONCE
)
FRESH_DOCUMENT = forge.authenticate(FRESH)


def not_authentic(step: str, data: bytes) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        forge.authenticate(data)
    assert caught.value.step == step
    return caught.value


# What is right.


def test_the_emulator_writes_the_indefinite_map_of_genuine_documents() -> None:
    assert cose.parse(FRESH, tagged=None).payload[:1] == b"\xbf"
    definite = Nsm(forge.emulator(indefinite_map=False).transact).attest(nonce=NONCE)
    assert cose.parse(definite, tagged=None).payload[:1] == b"\xa9"
    assert forge.authenticate(definite).nonce == NONCE


def test_tag_18_may_stand_in_front() -> None:
    assert forge.authenticate(b"\xd2" + FRESH) == FRESH_DOCUMENT


def test_the_claimed_time_is_the_documents() -> None:
    assert nitro.claimed_time(FRESH) == NOW


# Sizes.


@pytest.mark.attack(9)
def test_a_document_over_20_kib_is_refused_before_it_is_parsed() -> None:
    not_authentic("size", FRESH + bytes(nitro.MAX_BYTES))


@pytest.mark.attack(9)
@pytest.mark.parametrize("length", ["5b7fffffffffffffff", "5bffffffffffffffff", "5a7fffffff"])
def test_a_false_length_in_the_envelope_costs_nothing(length: str) -> None:
    data = bytes.fromhex("8444a1013822a0" + length)
    tracemalloc.start()
    not_authentic("envelope", data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024


# Trailing bytes and wrong types, in the envelope.


@pytest.mark.attack(10)
def test_a_byte_after_the_message_is_refused() -> None:
    not_authentic("envelope", FRESH + b"\0")


@pytest.mark.attack(10)
@pytest.mark.parametrize("count", [3, 5])
def test_an_array_of_another_length_is_refused(count: int) -> None:
    parts = [*cbor2.loads(FRESH), b""][:count]
    not_authentic("envelope", cbor2.dumps(parts))


@pytest.mark.attack(8)
def test_an_indefinite_length_message_is_refused() -> None:
    not_authentic("envelope", b"\x9f" + FRESH[1:] + b"\xff")


@pytest.mark.attack(9, 11)
@pytest.mark.parametrize("tags", ["d1", "d2d2", "d862", "d9d9f7d2"])
def test_another_tag_is_refused(tags: str) -> None:
    not_authentic("envelope", bytes.fromhex(tags) + FRESH)


@pytest.mark.attack(10)
@pytest.mark.parametrize("payload", [None, "text", {"module_id": "i-0"}, b""])
def test_a_payload_that_is_no_byte_string_is_refused(payload: object) -> None:
    parts = cbor2.loads(FRESH)
    parts[2] = payload
    not_authentic("envelope", cbor2.dumps(parts))


# A PCR index off by one.


@pytest.mark.attack(15)
def test_pcr_index_32_is_refused() -> None:
    not_authentic("field pcrs index", forge.document(pcrs={**PCRS, 32: bytes(48)}))


# Algorithm confusion.


@pytest.mark.attack(11)
@pytest.mark.parametrize(
    "protected",
    [
        b"",
        b"\xa0",
        cbor2.dumps({1: -7}),  # ES256
        cbor2.dumps({1: -36}),  # ES512
        cbor2.dumps({1: -8}),  # EdDSA
        cbor2.dumps({1: 5}),  # HMAC
        cbor2.dumps({1: "ES384"}),
        cbor2.dumps({1: -35, 4: b"key"}),
        bytes.fromhex("a2013822013822"),  # twice the same
        bytes.fromhex("a201382201260a"),
        bytes.fromhex("a101390022"),  # -35 in a longer form
        bytes.fromhex("bf013822ff"),
        bytes.fromhex("a101382200"),
    ],
)
def test_any_other_protected_header_is_refused_even_if_signed(protected: bytes) -> None:
    payload = cose.parse(FRESH, tagged=None).payload
    key = forge.chain().key
    signature = key.sign(cose.signature_input(protected, payload), ec.ECDSA(SHA384()))
    raw = forge.raw_signature(*decode_dss_signature(signature))
    not_authentic("envelope", cbor2.dumps([protected, {}, payload, raw]))


@pytest.mark.attack(11)
def test_a_protected_header_that_is_a_map_is_refused() -> None:
    not_authentic("envelope", forge.envelope(protected={1: -35}))


@pytest.mark.attack(11)
@pytest.mark.parametrize("unprotected", [{1: -35}, {4: b"key"}, [], b""])
def test_an_unprotected_header_is_refused(unprotected: object) -> None:
    not_authentic("envelope", forge.envelope(unprotected=unprotected))


@pytest.mark.attack(11)
def test_a_downgrade_to_p256_with_a_right_signature_is_refused() -> None:
    leaf = replace(forge.HONEST["enclave"], curve=ec.SECP256R1())
    weak = forge.forged_chain(enclave=leaf)
    payload = encode_payload(forge.fields(weak), indefinite_map=False)
    protected = cbor2.dumps({1: -7})
    signature = weak.key.sign(cose.signature_input(protected, payload), ec.ECDSA(SHA256()))
    r, s = decode_dss_signature(signature)
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    not_authentic("envelope", cbor2.dumps([protected, {}, payload, raw]))


# Signatures.

SIGNATURE = cbor2.loads(FRESH)[3]
R, S = forge.coordinates(SIGNATURE)


@pytest.mark.attack(12, 13)
@pytest.mark.parametrize(
    "signature",
    [
        b"",
        SIGNATURE[:-1],
        SIGNATURE + b"\0",
        b"\0" + SIGNATURE,
        forge.der_signature(SIGNATURE),
        bytes(64),  # what QEMU's emulated module writes
    ],
)
def test_a_signature_that_is_not_96_bytes_is_refused(signature: bytes) -> None:
    not_authentic("envelope", forge.envelope(signature=signature))


@pytest.mark.attack(12, 13)
@pytest.mark.parametrize(
    ("r", "s"),
    [
        (0, 0),
        (0, S),
        (R, 0),
        (S, R),
        (CURVE_ORDER, S),
        (R, CURVE_ORDER),
        (1, 1),
        (2**384 - 1, 2**384 - 1),
    ],
)
def test_a_signature_out_of_range_or_order_is_refused(r: int, s: int) -> None:
    parts = cbor2.loads(FRESH)
    parts[3] = forge.raw_signature(r, s)
    not_authentic("signature", cbor2.dumps(parts))


@pytest.mark.attack(12)
def test_a_signature_by_another_key_is_refused() -> None:
    other = pki.chain(forge.root(), forge.MODULE, NOW)
    payload = encode_payload(forge.fields(), indefinite_map=False)
    not_authentic("signature", forge.signed(payload, other))


@pytest.mark.attack(12)
def test_a_payload_changed_after_signing_is_refused() -> None:
    honest, other = forge.fields(), forge.fields(nonce=bytes(32))
    parts = cbor2.loads(forge.signed(encode_payload(honest, indefinite_map=False)))
    parts[2] = encode_payload(other, indefinite_map=False)
    not_authentic("signature", cbor2.dumps(parts))


# Malleable signatures.


@pytest.mark.attack(21)
def test_a_malleable_twin_is_the_same_document() -> None:
    """(r, n - s) is as valid as (r, s): other bytes, but one payload digest to remember."""
    parts = cbor2.loads(FRESH)
    parts[3] = forge.raw_signature(R, CURVE_ORDER - S)
    twin = cbor2.dumps(parts)
    assert twin != FRESH
    assert forge.authenticate(twin) == FRESH_DOCUMENT


# Properties: whatever the bytes, the declared error or the same meaning.


@settings(deadline=None, max_examples=300)
@given(st.integers(0, len(FRESH) * 8 - 1))
@example(0)
@example(9999)  # in the leaf's subject, which the library parses only when it is read
def test_any_flipped_bit_is_refused(bit: int) -> None:
    data = bytearray(FRESH)
    data[bit // 8] ^= 1 << bit % 8
    with pytest.raises(VerificationError):
        forge.authenticate(bytes(data))


@settings(deadline=None, max_examples=200)
@given(st.integers(0, len(FRESH)), st.integers(0, 40), st.binary(max_size=40))
def test_any_splice_is_refused_or_means_the_same(start: int, count: int, new: bytes) -> None:
    try:
        found = forge.authenticate(FRESH[:start] + new + FRESH[start + count :])
    except VerificationError:
        return
    assert found == FRESH_DOCUMENT


@pytest.mark.attack(6)
@settings(deadline=None, max_examples=300)
@given(st.data())
def test_any_flipped_bit_under_a_right_signature_is_judged_by_name(data: st.DataObject) -> None:
    """Reaches the certificates: there a flip is refused unless it is in what they do not bind."""
    payload = bytearray(encode_payload(forge.fields(), indefinite_map=True))
    bit = data.draw(st.integers(0, len(payload) * 8 - 1))
    payload[bit // 8] ^= 1 << bit % 8
    try:
        found = forge.authenticate(forge.signed(bytes(payload)))
    except VerificationError:
        return
    assert (found.certificate, found.cabundle) == (
        forge.chain().certificate,
        forge.chain().cabundle,
    )


@settings(deadline=None)
@given(st.binary(max_size=400))
def test_any_bytes_are_refused(data: bytes) -> None:
    with pytest.raises(VerificationError):
        forge.authenticate(data)


@settings(deadline=None, max_examples=50)
@given(st.booleans(), st.none() | st.binary(min_size=1, max_size=1024), st.binary(max_size=512))
def test_what_an_enclave_binds_is_what_a_verifier_reads(
    indefinite_map: bool, public_key: bytes | None, user_data: bytes
) -> None:
    nsm = NsmEmulator(PCRS, forge.root(), lambda: NOW, forge.MODULE, indefinite_map=indefinite_map)
    data = Nsm(nsm.transact).attest(public_key=public_key, user_data=user_data, nonce=NONCE)
    found = forge.authenticate(data)
    assert (found.public_key, found.user_data) == (public_key, user_data)
