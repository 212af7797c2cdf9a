from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from typing import Any

import pytest
from blake3 import blake3
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from hypothesis import given
from hypothesis import strategies as st

from enclave.wire import sealed
from enclave.wire.errors import LocalProtocolError, VerificationError
from enclave.wire.manifest import Manifest
from enclave.wire.sealed import Opener, Whole
from tests.wire.sealing import CHUNK, DIGEST, KEY, MANIFEST, WEIGHTS, pieces

SEALED = list(sealed.seal(MANIFEST, DIGEST, KEY, pieces()))


def of(weights: bytes, **changes: Any) -> Manifest:
    """A manifest of other weights."""
    blake = blake3(weights).digest()
    return replace(MANIFEST, weights_bytes=len(weights), weights_blake3=blake, **changes)


def opener() -> Opener:
    return Opener(MANIFEST, DIGEST, KEY)


@given(st.integers(1, 300), st.integers(1, 100))
def test_seal_and_open_are_inverse(size: int, chunk_bytes: int) -> None:
    weights = bytes(size)
    manifest = of(weights, chunk_bytes=chunk_bytes)
    digest = sha256(manifest.encode()).digest()
    chunks = list(sealed.seal(manifest, digest, KEY, pieces(weights, chunk_bytes)))
    assert len(chunks) == manifest.chunks
    assert b"".join(Opener(manifest, digest, KEY).open(chunks)) == weights


def test_a_chunk_is_what_the_docstring_says() -> None:
    for index, final in ((1, 0), (4, 1)):
        nonce = b"prefix7" + index.to_bytes(4, "big") + bytes([final])
        place = index.to_bytes(8, "big") + (5).to_bytes(8, "big") + bytes([final])
        additional = b"confbench/1 sealed chunk" + DIGEST + place
        expected = AESGCM(KEY).encrypt(nonce, pieces()[index], additional)
        assert SEALED[index] == expected


def test_chunks_open_in_any_order_into_the_callers_memory() -> None:
    memory = bytearray(len(WEIGHTS))
    view = memoryview(memory)
    for index in (4, 0, 2, 1, 3):
        start = index * CHUNK
        count = opener().open_into(index, memoryview(SEALED[index]), view[start:])
        assert count == len(pieces()[index])
    assert memory == WEIGHTS


def test_open_into_writes_no_further_than_the_chunk() -> None:
    memory = bytearray(b"\xee" * (CHUNK + 8))
    assert opener().open_into(0, SEALED[0], memoryview(memory)) == CHUNK
    assert memory == WEIGHTS[:CHUNK] + b"\xee" * 8


def failed(open_it: Callable[[], object]) -> str:
    with pytest.raises(VerificationError) as caught:
        open_it()
    return caught.value.step


def opened(*chunks: bytes) -> Callable[[], object]:
    return lambda: list(opener().open(chunks))


def flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]


# Whoever has the data key can seal what he likes; that only the sealing itself refuses it.
FORGED = list(islice(sealed.seal(MANIFEST, DIGEST, KEY, pieces(bytes(len(WEIGHTS)))), 5))
OTHER = replace(MANIFEST, version="2")
OTHER_DIGEST = sha256(OTHER.encode()).digest()
OTHER_SEALED = list(sealed.seal(OTHER, OTHER_DIGEST, KEY, pieces()))
AUTHENTICATION = "chunk authentication"

REFUSED: dict[str, tuple[Callable[[], object], str]] = {
    "reordered": (opened(SEALED[1], SEALED[0], *SEALED[2:]), AUTHENTICATION),
    "repeated": (opened(SEALED[0], SEALED[0], *SEALED[1:]), AUTHENTICATION),
    "dropped inside": (opened(*SEALED[:2], *SEALED[3:]), AUTHENTICATION),
    "dropped at the start": (opened(*SEALED[1:]), AUTHENTICATION),
    "dropped before the end": (opened(*SEALED[:3], SEALED[4]), "chunk length"),
    "truncated by a chunk": (opened(*SEALED[:4]), "chunk count"),
    "truncated to nothing": (opened(), "chunk count"),
    "truncated by a byte": (opened(*SEALED[:4], SEALED[4][:-1]), "chunk length"),
    "extended by a byte": (opened(*SEALED[:4], SEALED[4] + b"\x00"), "chunk length"),
    "extended by a chunk": (opened(*SEALED, SEALED[4]), "chunk index"),
    "of another version": (opened(OTHER_SEALED[0], *SEALED[1:]), AUTHENTICATION),
    "other weights under this key": (opened(*FORGED), "weights digest"),
    "flipped in the ciphertext": (opened(flipped(SEALED[0], 0)), AUTHENTICATION),
    "flipped in the tag": (opened(flipped(SEALED[0], CHUNK)), AUTHENTICATION),
    "empty": (opened(b""), "chunk length"),
    "at a wrong index": (lambda: opener().open_chunk(2, SEALED[1]), AUTHENTICATION),
    "at an index too high": (lambda: opener().open_chunk(5, SEALED[4]), "chunk index"),
    "at a negative index": (lambda: opener().open_chunk(-1, SEALED[4]), "chunk index"),
    "under another manifest": (
        lambda: Opener(OTHER, OTHER_DIGEST, KEY).open_chunk(0, SEALED[0]),
        AUTHENTICATION,
    ),
    "under another digest": (
        lambda: Opener(MANIFEST, bytes(32), KEY).open_chunk(0, SEALED[0]),
        AUTHENTICATION,
    ),
    "under another key": (lambda: Opener(MANIFEST, DIGEST, bytes(32)), "data key"),
    "under a short key": (lambda: Opener(MANIFEST, DIGEST, KEY[:31]), "data key"),
}


@pytest.mark.attack(31, 36)
@pytest.mark.parametrize(("open_it", "step"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(open_it: Callable[[], object], step: str) -> None:
    assert failed(open_it) == step


@pytest.mark.attack(32, 37)
def test_weights_sealed_with_a_key_of_ones_own_are_refused() -> None:
    """Who answers for the KMS knows the digest: only the commitment stands in his way."""
    key = bytes(range(32))
    other = of(bytes(len(WEIGHTS)), key_commitment=sealed.commit(key))
    digest = sha256(other.encode()).digest()
    forged = list(sealed.seal(other, digest, key, pieces(bytes(len(WEIGHTS)))))
    assert Opener(other, digest, key).open_chunk(0, forged[0]) == bytes(CHUNK)
    assert failed(lambda: Opener(MANIFEST, DIGEST, key)) == "data key"


@pytest.mark.attack(36)
def test_a_shorter_model_under_the_same_key_is_refused() -> None:
    """What ended one model is not the end of another."""
    short = of(WEIGHTS[: 2 * CHUNK])
    digest = sha256(short.encode()).digest()
    chunks = list(sealed.seal(short, digest, KEY, pieces()[:2]))
    assert failed(lambda: opener().open_chunk(1, chunks[1])) == AUTHENTICATION


@pytest.mark.attack(36)
@given(st.integers(0, len(SEALED[4]) * 8 - 1))
def test_no_flipped_bit_of_a_chunk_goes_unseen_and_no_plaintext_is_left(bit: int) -> None:
    changed = bytearray(SEALED[4])
    changed[bit // 8] ^= 1 << bit % 8
    memory = bytearray(b"\xee" * 10)
    assert failed(lambda: opener().open_into(4, changed, memoryview(memory))) == AUTHENTICATION
    assert memory == bytes(10)


@given(st.binary(max_size=2 * CHUNK), st.integers(-3, 8))
def test_noise_is_no_chunk(data: bytes, index: int) -> None:
    assert failed(lambda: opener().open_chunk(index, data)).startswith("chunk ")


def test_without_a_hash_who_has_the_key_decides() -> None:
    """What the optional field is for: AEAD alone cannot tell the owner from who has his key."""
    manifest = replace(MANIFEST, weights_blake3=None)
    digest, other = sha256(manifest.encode()).digest(), bytes(len(WEIGHTS))
    chunks = list(sealed.seal(manifest, digest, KEY, pieces(other)))
    assert b"".join(Opener(manifest, digest, KEY).open(chunks)) == other


@given(st.permutations(range(5)))
def test_chunks_make_a_whole_in_any_order(order: list[int]) -> None:
    whole = Whole(MANIFEST)
    for index in order:
        assert failed(whole.verify) == "chunk count"
        whole.add(index, pieces()[index])
    whole.verify()


def test_the_key_may_be_a_bytearray() -> None:
    assert Opener(MANIFEST, DIGEST, bytearray(KEY)).open_chunk(0, SEALED[0]) == WEIGHTS[:CHUNK]


def test_room_is_the_callers_business() -> None:
    with pytest.raises(LocalProtocolError, match="room for 63"):
        opener().open_into(0, SEALED[0], memoryview(bytearray(CHUNK - 1)))


@pytest.mark.parametrize(
    ("digest", "key", "chunks"),
    [
        (bytes(32), KEY, pieces()),
        (DIGEST, bytes(32), pieces()),
        (DIGEST, KEY[:31], pieces()),
        (DIGEST, KEY, pieces()[:4]),
        (DIGEST, KEY, [*pieces(), b"more"]),
        (DIGEST, KEY, [WEIGHTS]),
        (DIGEST, KEY, pieces(bytes(len(WEIGHTS)))),
        (DIGEST, KEY, [*pieces()[:4], pieces()[4] + b"\x00"]),
    ],
    ids=["digest", "key", "short key", "too few", "too many", "in one piece", "others", "too long"],
)
def test_what_is_not_as_the_manifest_says_is_not_sealed(
    digest: bytes, key: bytes, chunks: list[bytes]
) -> None:
    with pytest.raises(LocalProtocolError):
        list(sealed.seal(MANIFEST, digest, key, chunks))
