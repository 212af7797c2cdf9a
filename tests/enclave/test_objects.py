"""Objects as they come: what arrives whole is right, and everything else is named and ends."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from hashlib import sha256
from itertools import islice

import pytest
from blake3 import blake3
from hypothesis import given
from hypothesis import strategies as st

from enclave.objects import open_weights, read_whole
from enclave.stages import Stages
from enclave.wire import sealed
from enclave.wire.errors import RemoteProtocolError, VerificationError
from enclave.wire.manifest import Manifest
from enclave.wire.sealed import Opener
from tests.wire.sealing import CHUNK, KEY, MANIFEST, pieces

WEIGHTS = bytes(i * 7 % 251 for i in range(40 * CHUNK + 10))
MODEL = replace(MANIFEST, weights_bytes=len(WEIGHTS), weights_blake3=blake3(WEIGHTS).digest())
DIGEST = sha256(MODEL.encode()).digest()
SEALED = b"".join(sealed.seal(MODEL, DIGEST, KEY, pieces(WEIGHTS)))
SIZE = CHUNK + sealed.TAG_BYTES


class Stream:
    """An object that comes in pieces, and to one reader at a time."""

    def __init__(self, data: bytes, most: int = 1 << 20, length: int | None = None) -> None:
        self.length = len(data) if length is None else length
        self._rest, self._most = memoryview(data), most
        self._one_at_a_time = threading.Lock()

    def readinto(self, buffer: memoryview, /) -> int:
        assert self._one_at_a_time.acquire(blocking=False), "two read at the same time"
        try:
            return self._read(buffer)
        finally:
            self._one_at_a_time.release()

    def _read(self, buffer: memoryview) -> int:
        count = min(len(buffer), self._most, len(self._rest))
        buffer[:count] = self._rest[:count]
        self._rest = self._rest[count:]
        return count


class Hangup(Stream):
    """One whose sender goes away after some bytes."""

    def _read(self, buffer: memoryview) -> int:
        if len(self._rest) < self.length // 2:
            raise RemoteProtocolError("gone")
        return super()._read(buffer)


def opened(stream: Stream, manifest: Manifest = MODEL, digest: bytes = DIGEST) -> bytes:
    return bytes(open_weights(stream, manifest, Opener(manifest, digest, KEY), Stages()).view)


@given(st.integers(1, 3 * SIZE))
def test_weights_are_whole_however_they_come(most: int) -> None:
    assert opened(Stream(SEALED, most)) == WEIGHTS


def test_its_stages_are_those_of_the_way() -> None:
    stages = Stages()
    open_weights(Stream(SEALED), MODEL, Opener(MODEL, DIGEST, KEY), stages)
    assert [name for name, _, _ in stages.rows()] == ["fetch", "open", "hash"]


def test_one_chunk_is_enough_for_two_hands() -> None:
    small = replace(MODEL, weights_bytes=5, weights_blake3=blake3(b"small").digest())
    digest = sha256(small.encode()).digest()
    data = b"".join(sealed.seal(small, digest, KEY, [b"small"]))
    assert opened(Stream(data), small, digest) == b"small"


def changed(at: int) -> bytes:
    return SEALED[:at] + bytes([SEALED[at] ^ 1]) + SEALED[at + 1 :]


FORGED = b"".join(islice(sealed.seal(MODEL, DIGEST, KEY, pieces(bytes(len(WEIGHTS)))), 41))
REFUSED: dict[str, tuple[Callable[[], Stream], str]] = {
    "a byte less": (lambda: Stream(SEALED[:-1]), "sealed length"),
    "a byte more": (lambda: Stream(SEALED + b"\0"), "sealed length"),
    "an early end": (lambda: Stream(SEALED[:-1], length=len(SEALED)), "object length"),
    "nothing": (lambda: Stream(b"", length=len(SEALED)), "object length"),
    "first chunk changed": (lambda: Stream(changed(0)), "chunk authentication"),
    "some chunk changed": (lambda: Stream(changed(20 * SIZE)), "chunk authentication"),
    "last chunk changed": (lambda: Stream(changed(len(SEALED) - 1)), "chunk authentication"),
    "two chunks swapped": (
        lambda: Stream(SEALED[SIZE : 2 * SIZE] + SEALED[:SIZE] + SEALED[2 * SIZE :]),
        "chunk authentication",
    ),
    "other weights under this key": (lambda: Stream(FORGED), "weights digest"),
}


@pytest.mark.attack(31, 36)
@pytest.mark.parametrize(("stream", "step"), REFUSED.values(), ids=REFUSED)
def test_refused_by_name(stream: Callable[[], Stream], step: str) -> None:
    with pytest.raises(VerificationError) as caught:
        opened(stream())
    assert caught.value.step == step


def test_a_sender_that_goes_away_ends_both_hands() -> None:
    before = threading.active_count()
    with pytest.raises(RemoteProtocolError, match="gone"):
        opened(Hangup(SEALED))
    assert threading.active_count() == before


def test_a_small_object_comes_whole() -> None:
    assert read_whole(Stream(b"object", most=2), 6) == b"object"


@pytest.mark.parametrize(
    "stream", [Stream(b"object"), Stream(b"obj", length=5)], ids=["too long", "too short"]
)
def test_a_small_object_of_another_length_is_refused(stream: Stream) -> None:
    with pytest.raises(VerificationError, match="object length"):
        read_whole(stream, 5)
