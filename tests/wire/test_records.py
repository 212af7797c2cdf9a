from __future__ import annotations

import struct

import pytest
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305
from hypothesis import given
from hypothesis import strategies as st

from enclave.wire import records
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from enclave.wire.frames import LIMITS, Type
from enclave.wire.records import TAG_BYTES, Direction

KEY, SESSION = bytes(32), bytes(16)


def pair(bucket_bytes: int = 0) -> tuple[Direction, Direction]:
    """The sealing and the opening side of one direction."""
    return Direction(KEY, SESSION, 1, bucket_bytes), Direction(KEY, SESSION, 1)


def sealed_by_hand(plaintext: bytes) -> bytes:
    length = len(plaintext) + TAG_BYTES
    additional = struct.pack(">BBB16sQI", 1, 1, Type.REQUEST, SESSION, 0, length)
    return ChaCha20Poly1305(KEY).encrypt(bytes(12), plaintext, additional)


@given(st.lists(st.binary(max_size=100), max_size=5), st.integers(0, 200))
def test_what_is_sealed_opens_in_order(messages: list[bytes], bucket_bytes: int) -> None:
    sealing, opening = pair(bucket_bytes)
    for message in messages:
        body = sealing.seal(Type.RESPONSE, message)
        assert opening.open(Type.RESPONSE, body) == message
        assert not bucket_bytes or (len(body) - TAG_BYTES) % bucket_bytes == 0


@pytest.mark.attack(44)
def test_sizes_say_no_more_than_their_bucket() -> None:
    sealing, _ = pair(bucket_bytes=256)
    assert {len(sealing.seal(Type.RESPONSE, bytes(size))) for size in range(253)} == {272}
    assert len(sealing.seal(Type.RESPONSE, bytes(253))) == 528


def test_without_buckets_a_record_is_its_message_and_20_bytes() -> None:
    sealing, _ = pair()
    assert len(sealing.seal(Type.RESPONSE, bytes(100))) == 120


@pytest.mark.attack(44)
def test_padding_stays_within_the_limit_of_a_type() -> None:
    sealing, opening = pair(bucket_bytes=1 << 20)
    body = sealing.seal(Type.READY, b"")
    assert len(body) == LIMITS[Type.READY]
    assert opening.open(Type.READY, body) == b""


@pytest.mark.attack(23, 44)
@pytest.mark.parametrize(
    ("plaintext", "message"),
    [
        (b"", "too short"),
        (b"\x00\x00\x00", "too short"),
        (b"\x00\x00\x00\x05four", "length or padding"),
        (b"\xff\xff\xff\xff", "length or padding"),
        (b"\x00\x00\x00\x04four\x01", "length or padding"),
        (b"\x00\x00\x00\x04four\x00\x00\x01", "length or padding"),
    ],
    ids=["empty", "three bytes", "too long", "4 GiB", "a one", "a one behind zeros"],
)
def test_a_false_length_or_padding_closes(plaintext: bytes, message: str) -> None:
    _, opening = pair()
    with pytest.raises(RemoteProtocolError, match=message):
        opening.open(Type.REQUEST, sealed_by_hand(plaintext))
    with pytest.raises(RemoteProtocolError, match="no record may follow"):
        opening.open(Type.REQUEST, sealed_by_hand(bytes(4)))


@pytest.mark.attack(23)
def test_after_a_forgery_even_the_good_record_is_refused() -> None:
    sealing, opening = pair()
    good, next_good = sealing.seal(Type.REQUEST, b"one"), sealing.seal(Type.REQUEST, b"two")
    with pytest.raises(RemoteProtocolError, match="authentication"):
        opening.open(Type.REQUEST, bytes(len(good)))
    for body in (good, next_good):
        with pytest.raises(RemoteProtocolError, match="no record may follow"):
            opening.open(Type.REQUEST, body)


@pytest.mark.parametrize(
    ("limit", "value"), [("MAX_RECORDS", 3), ("MAX_BYTES", 3 * (4 + 10 + TAG_BYTES))]
)
def test_a_key_ends_with_its_limits(
    monkeypatch: pytest.MonkeyPatch, limit: str, value: int
) -> None:
    honest, _ = pair()
    bodies = [honest.seal(Type.REQUEST, bytes(10)) for _ in range(4)]
    monkeypatch.setattr(records, limit, value)
    sealing, opening = pair()
    for body in bodies[:3]:
        assert sealing.seal(Type.REQUEST, bytes(10)) == body
        assert opening.open(Type.REQUEST, body) == bytes(10)
    with pytest.raises(LocalProtocolError, match="no record may follow"):
        sealing.seal(Type.REQUEST, bytes(10))
    with pytest.raises(RemoteProtocolError, match="no record may follow"):
        opening.open(Type.REQUEST, bodies[3])


def test_the_limits_are_those_of_the_specification() -> None:
    assert (records.MAX_RECORDS, records.MAX_BYTES) == (2**32, 2**40)
