"""Authentic and acceptable, rule by rule, on documents made on the fly by the emulator."""

from __future__ import annotations

import ast
import tracemalloc
from dataclasses import replace
from datetime import timedelta
from hashlib import sha256
from pathlib import Path

import cbor2
import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256, SHA384
from hypothesis import example, given, settings
from hypothesis import strategies as st

from bench.emulators import pki
from bench.emulators.nsm import NsmEmulator, encode_payload
from bench.verify import AWS_ROOT_SHA256, Attested, Document, Policy, nitro
from enclave.tee.nsm import Nsm
from enclave.wire import cose
from enclave.wire.errors import LocalProtocolError, VerificationError
from tests.verify import forge
from tests.verify.forge import CURVE_ORDER, NONCE, NOW, PCRS, PUBLIC_KEY

ROOT = Path(__file__).parents[2]
FRESH = Nsm(forge.emulator().transact).attest(
    public_key=PUBLIC_KEY, user_data=b"claims", nonce=NONCE
)
FRESH_DOCUMENT = forge.authenticate(FRESH)


def not_authentic(step: str, data: bytes) -> VerificationError:
    with pytest.raises(VerificationError) as caught:
        forge.authenticate(data)
    assert caught.value.step == step
    return caught.value


def accept(data: bytes = FRESH, policy: Policy | None = None, **options: object) -> Attested:
    arguments = {"nonce": NONCE, "now": NOW, **options}
    return nitro.accept(forge.authenticate(data), policy or forge.policy(), **arguments)  # type: ignore[arg-type]


def not_acceptable(step: str, data: bytes = FRESH, **options: object) -> VerificationError:
    """Authentic all the same."""
    forge.authenticate(data)
    with pytest.raises(VerificationError) as caught:
        accept(data, **options)  # type: ignore[arg-type]
    assert caught.value.step == step
    return caught.value


def no_policy(step: str, **changes: object) -> None:
    with pytest.raises(VerificationError) as caught:
        forge.policy(**changes)
    assert caught.value.step == step


# What is right.


def test_a_fresh_document_is_authentic_and_acceptable() -> None:
    attested = accept(public_key=PUBLIC_KEY)
    found = attested.document
    assert (found.module_id, found.digest) == (forge.MODULE, "SHA384")
    assert found.timestamp_ms == NOW.timestamp() * 1000
    assert (found.public_key, found.user_data, found.nonce) == (PUBLIC_KEY, b"claims", NONCE)
    assert {index: found.pcrs[index] for index in PCRS} == PCRS
    assert len(found.pcrs) == 16
    assert found.payload_sha256 == sha256(cose.parse(FRESH, tagged=None).payload).digest()


def test_the_emulator_writes_the_indefinite_map_of_genuine_documents() -> None:
    assert cose.parse(FRESH, tagged=None).payload[:1] == b"\xbf"
    definite = Nsm(forge.emulator(indefinite_map=False).transact).attest(nonce=NONCE)
    assert cose.parse(definite, tagged=None).payload[:1] == b"\xa9"
    assert accept(definite).document.nonce == NONCE


def test_tag_18_may_stand_in_front() -> None:
    assert forge.authenticate(b"\xd2" + FRESH) == FRESH_DOCUMENT


def test_the_claimed_time_is_the_documents() -> None:
    assert nitro.claimed_time(FRESH) == NOW


# Attack 1: nonce replay.


def test_a_document_without_a_nonce_is_refused_where_one_was_sent() -> None:
    not_acceptable("nonce", forge.document(nonce=None))


@pytest.mark.parametrize("nonce", [NONCE[:-1], NONCE + b"\0", bytes(32), NONCE[::-1], b""])
def test_another_nonce_is_refused(nonce: bytes) -> None:
    not_acceptable("nonce", forge.document(nonce=nonce))


def test_a_challenge_too_short_to_prove_anything_is_our_own_bug() -> None:
    with pytest.raises(LocalProtocolError):
        accept(forge.document(nonce=b""), nonce=b"")


def test_no_nonce_is_looked_at_where_none_was_sent() -> None:
    assert accept(forge.document(nonce=b"any"), nonce=None).document.nonce == b"any"


# Attack 2: stale documents and documents from the future.


@pytest.mark.parametrize("off_s", [300.001, 3600, -60.001, -3600])
def test_a_stale_or_future_document_is_refused(off_s: float) -> None:
    then = NOW - timedelta(seconds=off_s)
    not_acceptable("freshness", forge.document(timestamp=int(then.timestamp() * 1000)))


@pytest.mark.parametrize("off_s", [300, -60])
def test_both_ends_of_the_freshness_window_are_fresh(off_s: int) -> None:
    then = NOW - timedelta(seconds=off_s)
    timestamp_ms = int(then.timestamp() * 1000)
    attested = accept(forge.document(timestamp=timestamp_ms))
    assert attested.document.timestamp_ms == timestamp_ms


@pytest.mark.parametrize("judge", ["authenticate", "accept"])
def test_a_time_without_a_zone_is_our_own_bug(judge: str) -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(LocalProtocolError):
        if judge == "authenticate":
            forge.authenticate(FRESH, naive)
        else:
            accept(now=naive)


def test_an_authentic_document_is_not_authentic_four_hours_later() -> None:
    with pytest.raises(VerificationError, match="validity"):
        forge.authenticate(FRESH, NOW + timedelta(hours=4))


# Attack 3: debug mode.


def test_a_debug_enclave_is_authentic_and_refused() -> None:
    debug = Nsm(forge.emulator(debug=True).transact).attest(nonce=NONCE)
    pcrs = forge.authenticate(debug).pcrs
    assert not any(any(pcrs[index]) for index in (0, 1, 2))
    assert any(pcrs[4])  # so "all PCRs are zero" would miss it
    not_acceptable("debug mode", debug)


@pytest.mark.parametrize("index", [0, 1, 2])
def test_one_zero_image_pcr_is_debug_mode(index: int) -> None:
    pcrs = {**FRESH_DOCUMENT.pcrs, index: bytes(48)}
    not_acceptable("debug mode", forge.document(pcrs=pcrs))


@pytest.mark.parametrize("index", [0, 1, 2, 8])
def test_a_policy_with_a_zero_pcr_is_refused(index: int) -> None:
    no_policy("policy pcrs", pcrs={**PCRS, index: bytes(48)})


def test_a_debug_enclave_is_accepted_where_a_policy_expects_exactly_that() -> None:
    debug = Nsm(forge.emulator(debug=True).transact).attest(nonce=NONCE)
    zeros = dict.fromkeys((0, 1, 2), bytes(48))
    assert accept(debug, forge.policy(pcrs=zeros, allow_debug=True)).emulated
    not_acceptable("pcr 0", debug, policy=forge.policy(allow_debug=True))


# Attacks 4 and 49: roots. Chains are in test_chain.


def test_an_emulators_root_is_refused_as_the_aws_root() -> None:
    no_policy("policy emulated", emulated=False)


def test_a_root_other_than_the_pinned_one_is_refused() -> None:
    no_policy("policy root", root_sha256=AWS_ROOT_SHA256, emulated=False)


def test_a_document_under_another_root_is_not_acceptable() -> None:
    """Authentic under one root, and shown to a policy that pins another."""
    other = pki.create(NOW).der
    policy = forge.policy(root_der=other, root_sha256=sha256(other).digest())
    not_acceptable("root", policy=policy)


def test_what_an_emulator_vouches_for_is_called_emulated() -> None:
    attested = accept()
    assert (attested.emulated, attested.platform) == (True, "local")


def test_only_the_verifier_makes_trusted_types() -> None:
    made = {
        (path.relative_to(ROOT).as_posix(), node.func.id)
        for folder in ("bench", "enclave", "scripts")
        for path in (ROOT / folder).rglob("*.py")
        for node in ast.walk(ast.parse(path.read_text()))
        if isinstance(node, ast.Call)
        and isinstance(node.func, ast.Name)
        and node.func.id in (Attested.__name__, Document.__name__)
    }
    assert made == {
        ("bench/verify/document.py", "Document"),
        ("bench/verify/nitro.py", "Attested"),
    }


# Attack 9: sizes. Payloads are in test_document.


def test_a_document_over_20_kib_is_refused_before_it_is_parsed() -> None:
    not_authentic("size", FRESH + bytes(nitro.MAX_BYTES))


@pytest.mark.parametrize("length", ["5b7fffffffffffffff", "5bffffffffffffffff", "5a7fffffff"])
def test_a_false_length_in_the_envelope_costs_nothing(length: str) -> None:
    data = bytes.fromhex("8444a1013822a0" + length)
    tracemalloc.start()
    not_authentic("envelope", data)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < 64 * 1024


# Attack 10: trailing bytes and wrong types, in the envelope.


def test_a_byte_after_the_message_is_refused() -> None:
    not_authentic("envelope", FRESH + b"\0")


@pytest.mark.parametrize("count", [3, 5])
def test_an_array_of_another_length_is_refused(count: int) -> None:
    parts = [*cbor2.loads(FRESH), b""][:count]
    not_authentic("envelope", cbor2.dumps(parts))


def test_an_indefinite_length_message_is_refused() -> None:
    not_authentic("envelope", b"\x9f" + FRESH[1:] + b"\xff")


@pytest.mark.parametrize("tags", ["d1", "d2d2", "d862", "d9d9f7d2"])
def test_another_tag_is_refused(tags: str) -> None:
    not_authentic("envelope", bytes.fromhex(tags) + FRESH)


@pytest.mark.parametrize("payload", [None, "text", {"module_id": "i-0"}, b""])
def test_a_payload_that_is_no_byte_string_is_refused(payload: object) -> None:
    parts = cbor2.loads(FRESH)
    parts[2] = payload
    not_authentic("envelope", cbor2.dumps(parts))


# Attack 11: algorithm confusion.


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


def test_a_protected_header_that_is_a_map_is_refused() -> None:
    not_authentic("envelope", forge.envelope(protected={1: -35}))


@pytest.mark.parametrize("unprotected", [{1: -35}, {4: b"key"}, [], b""])
def test_an_unprotected_header_is_refused(unprotected: object) -> None:
    not_authentic("envelope", forge.envelope(unprotected=unprotected))


def test_a_downgrade_to_p256_with_a_right_signature_is_refused() -> None:
    leaf = replace(forge.HONEST["enclave"], curve=ec.SECP256R1())
    weak = forge.forged_chain(enclave=leaf)
    payload = encode_payload(forge.fields(weak), indefinite_map=False)
    protected = cbor2.dumps({1: -7})
    signature = weak.key.sign(cose.signature_input(protected, payload), ec.ECDSA(SHA256()))
    r, s = decode_dss_signature(signature)
    raw = r.to_bytes(32, "big") + s.to_bytes(32, "big")
    not_authentic("envelope", cbor2.dumps([protected, {}, payload, raw]))


# Attacks 12 and 13: signatures.

SIGNATURE = cbor2.loads(FRESH)[3]
R, S = forge.coordinates(SIGNATURE)


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


def test_a_signature_by_another_key_is_refused() -> None:
    other = pki.chain(forge.root(), forge.MODULE, NOW)
    payload = encode_payload(forge.fields(), indefinite_map=False)
    not_authentic("signature", forge.signed(payload, other))


def test_a_payload_changed_after_signing_is_refused() -> None:
    honest, other = forge.fields(), forge.fields(nonce=bytes(32))
    parts = cbor2.loads(forge.signed(encode_payload(honest, indefinite_map=False)))
    parts[2] = encode_payload(other, indefinite_map=False)
    not_authentic("signature", cbor2.dumps(parts))


# Attacks 14 to 16: PCRs.


@pytest.mark.parametrize("index", [0, 1, 2])
def test_an_expected_pcr_that_is_missing_is_refused(index: int) -> None:
    pcrs = {key: value for key, value in FRESH_DOCUMENT.pcrs.items() if key != index}
    not_acceptable(f"pcr {index}", forge.document(pcrs=pcrs))


@pytest.mark.parametrize("index", [0, 1, 2])
def test_another_pcr_is_refused(index: int) -> None:
    other = bytes([*PCRS[index][:-1], PCRS[index][-1] ^ 1])
    not_acceptable(f"pcr {index}", forge.document(pcrs={**FRESH_DOCUMENT.pcrs, index: other}))


def test_a_further_pcr_of_the_policy_is_compared_too() -> None:
    policy = forge.policy(pcrs={**PCRS, 8: b"\x08" * 48})
    not_acceptable("pcr 8", policy=policy)


def test_a_sparse_document_is_accepted() -> None:
    assert set(accept(forge.document(pcrs=PCRS)).document.pcrs) == {0, 1, 2}


def test_pcr_index_32_is_refused() -> None:
    not_authentic("field pcrs index", forge.document(pcrs={**PCRS, 32: bytes(48)}))


@pytest.mark.parametrize("index", [-1, 32, "0", True])
def test_a_policy_with_no_such_pcr_is_refused(index: object) -> None:
    pcrs: dict[object, bytes] = {0: PCRS[0], 2: PCRS[2], index: PCRS[1]}
    no_policy("policy pcrs", pcrs=pcrs)


def test_a_policy_with_a_short_pcr_is_refused() -> None:
    no_policy("policy pcrs", pcrs={**PCRS, 0: PCRS[0][:32]})


def test_a_signers_pcr_alone_is_no_policy() -> None:
    """It would accept every image that the signer ever signed."""
    no_policy("policy pcrs", pcrs={8: b"\x08" * 48})


@pytest.mark.parametrize("index", [0, 1, 2])
def test_a_policy_without_an_image_pcr_is_refused(index: int) -> None:
    no_policy("policy pcrs", pcrs={key: PCRS[key] for key in PCRS if key != index})


@pytest.mark.parametrize(
    "module_id", ["i-0123456789abcdef1-enc0123456789abcdef", "i-0123456789abcdef0", "no id", "i-"]
)
def test_a_module_id_of_another_instance_than_pcr_4_is_refused(module_id: str) -> None:
    not_acceptable("instance", forge.document(module_id=module_id))


def test_a_zero_pcr_4_is_refused() -> None:
    not_acceptable("instance", forge.document(pcrs={**FRESH_DOCUMENT.pcrs, 4: bytes(48)}))


# Attacks 19 and 20: documents of another operation or channel.


@pytest.mark.parametrize("public_key", [None, bytes(32), PUBLIC_KEY[:-1]])
def test_a_document_for_another_key_is_refused(public_key: bytes | None) -> None:
    not_acceptable("public key", forge.document(public_key=public_key), public_key=PUBLIC_KEY)


# Attack 21: malleable signatures.


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
    found = accept(data).document
    assert (found.public_key, found.user_data) == (public_key, user_data)
