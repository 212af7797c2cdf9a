"""Key establishment against two others: cryptography's own HPKE, and the vectors of RFC 9180."""

from __future__ import annotations

import json
from hashlib import sha256
from hmac import new as hmac
from pathlib import Path
from typing import Any

import pytest
from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey, X25519PublicKey
from cryptography.hazmat.primitives.hpke import AEAD, KDF, KEM, Suite
from hypothesis import given, settings
from hypothesis import strategies as st
from pyhpke.exceptions import OpenError
from pyhpke.kem_key import KEMKeyPair
from pyhpke.keys.x25519_key import X25519Key

from enclave.wire import hpke
from enclave.wire.errors import RemoteProtocolError

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpora" / "hpke" / "test-vectors.json"
THEIRS = Suite(KEM.X25519, KDF.HKDF_SHA256, AEAD.CHACHA20_POLY1305)
OURS = hpke._SUITE

keys = st.binary(min_size=32, max_size=32).map(X25519PrivateKey.from_private_bytes)
texts = st.binary(max_size=200)


@settings(max_examples=50)
@given(keys, texts, texts)
def test_what_the_other_seals_we_open(key: X25519PrivateKey, info: bytes, text: bytes) -> None:
    sealed = THEIRS.encrypt(text, key.public_key(), info)
    encapsulated, ciphertext = sealed[: hpke.ENCAPSULATED_BYTES], sealed[hpke.ENCAPSULATED_BYTES :]
    context = OURS.create_recipient_context(encapsulated, X25519Key(key), info)
    assert context.open(ciphertext) == text


@settings(max_examples=50)
@given(keys, texts, texts)
def test_what_we_seal_the_other_opens(key: X25519PrivateKey, info: bytes, text: bytes) -> None:
    encapsulated, context = OURS.create_sender_context(X25519Key(key.public_key()), info)
    assert THEIRS.decrypt(encapsulated + context.seal(text), key, info) == text


@settings(max_examples=100)
@given(keys, st.data())
def test_both_refuse_the_same_messages(key: X25519PrivateKey, data: st.DataObject) -> None:
    """With any bit flipped, even the one of a key that X25519 ignores."""
    sealed = bytearray(THEIRS.encrypt(b"text", key.public_key(), b"info"))
    bit = data.draw(st.integers(0, 8 * len(sealed) - 1))
    sealed[bit // 8] ^= 1 << bit % 8
    with pytest.raises(InvalidTag):
        THEIRS.decrypt(bytes(sealed), key, b"info")
    encapsulated, ciphertext = bytes(sealed[:32]), bytes(sealed[32:])
    context = OURS.create_recipient_context(encapsulated, X25519Key(key), b"info")
    with pytest.raises(OpenError):
        context.open(ciphertext)


@pytest.mark.attack(20)
@settings(max_examples=50)
@given(keys, texts, texts)
def test_secrets_agree_if_info_does(key: X25519PrivateKey, info: bytes, other: bytes) -> None:
    public_key = key.public_key().public_bytes_raw()
    encapsulated, secrets = hpke.establish(public_key, info)
    assert hpke.accept(key, encapsulated, info) == secrets
    assert (hpke.accept(key, encapsulated, other) == secrets) is (info == other)
    assert len({secrets.client_key, secrets.server_key}) == 2


# Every u-coordinate whose product with any scalar is zero (RFC 7748 section 6.1).
PRIME = 2**255 - 19
SMALL_ORDER = [
    point.to_bytes(32, "little")
    for point in (
        0,
        1,
        325606250916557431795983626356110631294008115727848805560023387167927233504,
        39382357235489614581723060781553021112529911719440698176882885853963445705823,
        PRIME - 1,
        PRIME,
        PRIME + 1,
    )
]


@pytest.mark.parametrize("point", SMALL_ORDER, ids=[p.hex()[:8] for p in SMALL_ORDER])
def test_a_point_of_small_order_is_refused_on_both_sides(point: bytes) -> None:
    with pytest.raises(RemoteProtocolError):
        hpke.establish(point, b"info")
    with pytest.raises(RemoteProtocolError):
        hpke.accept(X25519PrivateKey.generate(), point, b"info")


# RFC 9180, appendix A: base mode of our suite.


def vector() -> dict[str, Any]:
    if not CORPUS.exists():
        pytest.skip(f"no vectors of RFC 9180 at {CORPUS}")
    ours = {"mode": 0, "kem_id": 0x20, "kdf_id": 1, "aead_id": 3}
    (found,) = (row for row in json.loads(CORPUS.read_text()) if ours.items() <= row.items())
    return found  # type: ignore[no-any-return]


def raw(row: dict[str, Any], name: str) -> bytes:
    return bytes.fromhex(row[name])


def private(row: dict[str, Any], name: str) -> X25519Key:
    return X25519Key(X25519PrivateKey.from_private_bytes(raw(row, name)))


def public(row: dict[str, Any], name: str) -> X25519Key:
    return X25519Key(X25519PublicKey.from_public_bytes(raw(row, name)))


def test_the_rfcs_exports_and_ciphertexts() -> None:
    row = vector()
    assert RFC_9180_A_2_1.items() <= row.items()
    ephemeral = KEMKeyPair(private(row, "skEm"), public(row, "pkEm"))
    recipient = public(row, "pkRm")
    encapsulated, sender = OURS.create_sender_context(recipient, raw(row, "info"), eks=ephemeral)
    assert encapsulated == raw(row, "enc")
    receiver = OURS.create_recipient_context(encapsulated, private(row, "skRm"), raw(row, "info"))
    for export in row["exports"]:
        for context in (sender, receiver):
            made = context.export(raw(export, "exporter_context"), export["L"])
            assert made == raw(export, "exported_value")
    for message in row["encryptions"]:
        assert sender.seal(raw(message, "pt"), raw(message, "aad")) == raw(message, "ct")
        assert receiver.open(raw(message, "ct"), raw(message, "aad")) == raw(message, "pt")


def exported(exporter_secret: bytes, label: bytes, length: int) -> bytes:
    """RFC 9180 5.3 by hand: LabeledExpand(exporter_secret, "sec", label, length), one block."""
    labelled = length.to_bytes(2, "big") + b"HPKE-v1HPKE" + hpke.SUITE_ID + b"sec" + label
    return hmac(exporter_secret, labelled + b"\x01", sha256).digest()[:length]


RFC_9180_A_2_1 = {  # DHKEM(X25519), HKDF-SHA256, ChaCha20-Poly1305, base mode
    "info": "4f6465206f6e2061204772656369616e2055726e",
    "skRm": "8057991eef8f1f1af18f4a9491d16a1ce333f695d4db8e38da75975c4478e0fb",
    "enc": "1afa08d3dec047a643885163f1180476fa7ddb54c6a8029ea33f95796bf2ac4a",
    "exporter_secret": "a3b010d4994890e2c6968a36f64470d3c824c8f5029942feb11e7a74b2921922",
}


def test_our_secrets_follow_from_the_rfcs_exporter_secret() -> None:
    row = RFC_9180_A_2_1
    key = X25519PrivateKey.from_private_bytes(raw(row, "skRm"))
    secrets = hpke.accept(key, raw(row, "enc"), raw(row, "info"))
    secret = raw(row, "exporter_secret")
    assert secrets.client_key == exported(secret, b"confbench/1 client to server", 32)
    assert secrets.server_key == exported(secret, b"confbench/1 server to client", 32)
    assert secrets.session_id == exported(secret, b"confbench/1 session id", 16)
