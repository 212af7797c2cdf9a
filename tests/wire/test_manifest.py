from __future__ import annotations

from dataclasses import fields, replace
from hashlib import sha256
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from enclave.wire import batch, cbor, cose
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError, VerificationError
from enclave.wire.manifest import Manifest, sign_manifest, verify_manifest
from tests.wire.sealing import MANIFEST, OWNER, SIGNED


def test_manifest_round_trip() -> None:
    manifest, digest = verify_manifest(SIGNED, OWNER.public_key())
    assert manifest == MANIFEST
    assert digest == sha256(MANIFEST.encode()).digest()
    assert Manifest.decode(MANIFEST.encode()) == MANIFEST


def test_a_hash_of_the_opened_weights_is_optional() -> None:
    without = replace(MANIFEST, weights_blake3=None)
    assert "weights_blake3" not in cbor.decode(without.encode())  # type: ignore[operator]
    assert Manifest.decode(without.encode()) == without


@pytest.mark.attack(32)
def test_a_manifest_has_to_commit_to_a_key() -> None:
    fields = values()
    del fields["key_commitment"]
    assert manifest_step(signed(fields)) == "manifest fields"


def manifest_step(data: bytes) -> str:
    with pytest.raises(VerificationError) as caught:
        verify_manifest(data, OWNER.public_key())
    return caught.value.step


def signed(values: object) -> bytes:
    protected = cose.parse(SIGNED, tagged=True).protected
    return cose.sign_ed25519(cbor.encode(values), OWNER, protected=protected)


def values(**changes: object) -> dict[str, object]:
    found = {field.name: getattr(MANIFEST, field.name) for field in fields(MANIFEST)} | changes
    return {name: value for name, value in found.items() if value is not ...}


REFUSED_MANIFESTS: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "manifest envelope"),
    "no tag": (SIGNED[1:], "manifest envelope"),
    "cut": (SIGNED[:-1], "manifest envelope"),
    "trailing byte": (SIGNED + b"\x00", "manifest envelope"),
    "a signed statement": (
        batch.issue(batch.Statement(b"s", 0, bytes(32), 0, bytes(32), b""), OWNER),
        "manifest header",
    ),
    "flipped bit in a field": (SIGNED.replace(b"minilm", b"minimm"), "manifest signature"),
    "flipped bit in the signature": (
        SIGNED[:-1] + bytes([SIGNED[-1] ^ 1]),
        "manifest signature",
    ),
    "another owner": (
        sign_manifest(MANIFEST, Ed25519PrivateKey.from_private_bytes(bytes(32))),
        "manifest signature",
    ),
    "not a map": (signed([1]), "manifest fields"),
    "a field more": (signed(values(extra=1)), "manifest fields"),
    "a field less": (signed(values(model=...)), "manifest fields"),
    "a name of another type": (signed(values() | {1: 1}), "manifest fields"),
    "no weights": (signed(values(weights_bytes=0)), "manifest fields"),
    "weights of a bool": (signed(values(weights_bytes=True)), "manifest fields"),
    "chunks of nothing": (signed(values(chunk_bytes=0)), "manifest fields"),
    "chunks beyond memory": (signed(values(chunk_bytes=1 << 40)), "manifest fields"),
    "more chunks than nonces": (
        signed(values(chunk_bytes=1, weights_bytes=(1 << 32) + 1)),
        "manifest fields",
    ),
    "tokenizer beyond memory": (signed(values(tokenizer_bytes=1 << 40)), "manifest fields"),
    "short digest": (signed(values(weights_sha256=bytes(31))), "manifest fields"),
    "short nonce prefix": (signed(values(nonce_prefix=bytes(6))), "manifest fields"),
    "no wrapped key": (signed(values(wrapped_key=b"")), "manifest fields"),
    "null hash": (signed(values(weights_blake3=None)), "manifest fields"),
    "null commitment": (signed(values(key_commitment=None)), "manifest fields"),
    "config of a bool": (signed(values(config={"a": True})), "manifest fields"),
    "config of a list": (signed(values(config={"a": [1]})), "manifest fields"),
    "config by number": (signed(values(config={1: 1})), "manifest fields"),
    "context of a number": (signed(values(encryption_context={"a": 1})), "manifest fields"),
}


@pytest.mark.attack(32)
@pytest.mark.parametrize(("data", "step"), REFUSED_MANIFESTS.values(), ids=REFUSED_MANIFESTS)
def test_manifest_refused_by_name(data: bytes, step: str) -> None:
    assert manifest_step(data) == step


@pytest.mark.parametrize(
    ("field", "largest", "too_large"),
    [
        ("model", "m" * 256, "m" * 257),
        ("version", "1" * 128, "1" * 129),
        ("architecture", "a" * 64, "a" * 65),
        ("source", "s" * 256, "s" * 257),
        ("weights_bytes", 64 << 32, (64 << 32) + 1),
        ("chunk_bytes", 16 << 20, (16 << 20) + 1),
        ("tokenizer_bytes", 64 << 20, (64 << 20) + 1),
        ("config", {str(i): i for i in range(64)}, {str(i): i for i in range(65)}),
        ("wrapped_key", bytes(6144), bytes(6145)),
        ("key_arn", "a" * 2048, "a" * 2049),
        ("encryption_context", {str(i): "" for i in range(32)}, {str(i): "" for i in range(33)}),
    ],
)
def test_bounds(field: str, largest: Any, too_large: Any) -> None:
    found, _ = verify_manifest(signed(values(**{field: largest})), OWNER.public_key())
    assert getattr(found, field) == largest
    assert manifest_step(signed(values(**{field: too_large}))) == "manifest fields"


@pytest.mark.attack(32)
@given(st.integers(0, len(SIGNED) * 8 - 1))
def test_no_flipped_bit_of_a_manifest_goes_unseen(bit: int) -> None:
    changed = bytearray(SIGNED)
    changed[bit // 8] ^= 1 << bit % 8
    manifest_step(bytes(changed))


@given(st.binary(min_size=1, max_size=200))
def test_noise_is_no_manifest(data: bytes) -> None:
    manifest_step(data)
    with pytest.raises(RemoteProtocolError):
        Manifest.decode(data)


@given(st.integers(0, len(MANIFEST.encode()) * 8 - 1))
def test_signed_nonsense_is_refused_or_means_what_it_says(bit: int) -> None:
    changed = bytearray(MANIFEST.encode())
    changed[bit // 8] ^= 1 << bit % 8
    try:
        found = Manifest.decode(bytes(changed))
    except RemoteProtocolError:
        return
    assert found.encode() == bytes(changed)


@pytest.mark.parametrize(
    "change",
    [
        {"model": ""},
        {"weights_bytes": 0},
        {"chunk_bytes": 32 << 20},
        {"nonce_prefix": bytes(8)},
        {"config": {"a": None}},
        {"config": {"a": float("nan")}},
        {"key_commitment": bytes(31)},
    ],
    ids=str,
)
def test_a_bad_manifest_is_not_signed(change: dict[str, Any]) -> None:
    with pytest.raises(LocalProtocolError):
        sign_manifest(replace(MANIFEST, **change), OWNER)
