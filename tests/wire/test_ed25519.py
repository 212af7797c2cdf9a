"""Signatures that are wrong in one point (RFC 8032 section 5.1), made by arithmetic."""

from __future__ import annotations

from hashlib import sha512

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from enclave.wire import cbor, cose
from enclave.wire.errors import VerificationError

KEY = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
PROTECTED = cbor.encode({cose.ALGORITHM: cose.EDDSA})
SIGNATURE = KEY.sign(cose.signature_input(PROTECTED, b"payload"))

P = 2**255 - 19
L = 2**252 + 27742317777372353535851937790883648493
D = -121665 * pow(121666, -1, P) % P
Point = tuple[int, int]
IDENTITY: Point = (0, 1)
ORDER_2: Point = (0, P - 1)


def add(one: Point, other: Point) -> Point:
    (x, y), (u, v) = one, other
    k = D * x * u * y * v
    return (
        (x * v + y * u) * pow(1 + k, -1, P) % P,
        (y * v + x * u) * pow(1 - k, -1, P) % P,
    )


def times(scalar: int, point: Point) -> Point:
    result = IDENTITY
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point, scalar = add(point, point), scalar >> 1
    return result


def recover(y: int) -> Point | None:
    """The point with this y and an even x, if there is one."""
    square = (y * y - 1) * pow(D * y * y + 1, -1, P) % P
    x = pow(square, (P + 3) // 8, P)
    for root in (x, x * pow(2, (P - 1) // 4, P) % P):
        if root * root % P == square:
            return root if root % 2 == 0 else P - root, y
    return None


def compress(point: Point) -> bytes:
    return (point[1] | (point[0] & 1) << 255).to_bytes(32, "little")


BASE = recover(4 * pow(5, -1, P) % P) or IDENTITY


def secret_scalar(key: Ed25519PrivateKey) -> int:
    digest = bytearray(sha512(key.private_bytes_raw()).digest()[:32])
    digest[0] &= 248
    digest[31] = digest[31] & 63 | 64
    return int.from_bytes(digest, "little")


def signed_with(point: bytes, nonce: int) -> cose.Sign1:
    """A signature by KEY whose R is `point` and whose S fits nonce * B."""
    message = cose.signature_input(PROTECTED, b"payload")
    hashed = sha512(point + KEY.public_key().public_bytes_raw() + message).digest()
    s = (nonce + int.from_bytes(hashed, "little") * secret_scalar(KEY)) % L
    return cose.Sign1(PROTECTED, b"payload", point + s.to_bytes(32, "little"))


def small_order() -> set[Point]:
    """The eight points whose order divides eight."""
    y = 2
    while True:
        point = recover(y)
        generator = times(L, point) if point else IDENTITY
        if times(4, generator) != IDENTITY:
            return {times(k, generator) for k in range(8)}
        y += 1


WEAK = sorted(
    {compress(point) for point in small_order()}
    | {(y | sign << 255).to_bytes(32, "little") for y in (0, 1, P, P + 1) for sign in (0, 1)}
)


def test_the_points_of_small_order_are_all_there() -> None:
    assert len(small_order()) == 8
    assert {y for _, y in small_order()} == cose._SMALL_ORDER


@pytest.mark.attack(12)
@pytest.mark.parametrize("point", WEAK, ids=bytes.hex)
def test_a_weak_point_is_refused_wherever_it_stands(point: bytes) -> None:
    key = Ed25519PublicKey.from_public_bytes(point)
    assert "in the key" in refused(cose.Sign1(PROTECTED, b"payload", SIGNATURE), key)
    assert "in the signature" in refused(signed_with(point, 0), KEY.public_key())


def test_the_forger_of_these_tests_can_sign() -> None:
    good = signed_with(compress(times(7, BASE)), 7)
    assert cose.verify_ed25519(good, KEY.public_key()) == b"payload"


def refused(message: cose.Sign1, key: Ed25519PublicKey) -> str:
    with pytest.raises(VerificationError) as caught:
        cose.verify_ed25519(message, key)
    return str(caught.value.found)


@pytest.mark.attack(12)
@pytest.mark.parametrize("encoding", [1, P + 1], ids=["canonical", "not canonical"])
def test_a_key_of_small_order_is_refused_though_the_library_takes_it(encoding: int) -> None:
    key = Ed25519PublicKey.from_public_bytes(encoding.to_bytes(32, "little"))
    signature = compress(times(5, BASE)) + (5).to_bytes(32, "little")  # S*B = R + k*identity
    for payload in (b"one", b"another"):
        key.verify(signature, cose.signature_input(PROTECTED, payload))
        assert "in the key" in refused(cose.Sign1(PROTECTED, payload, signature), key)


def test_a_signature_point_of_small_order_is_refused() -> None:
    assert "in the signature" in refused(signed_with(compress(ORDER_2), 0), KEY.public_key())


def test_the_equation_holds_without_the_cofactor() -> None:
    mixed = compress(add(times(7, BASE), ORDER_2))
    assert "does not match" in refused(signed_with(mixed, 7), KEY.public_key())


@pytest.mark.attack(12)
def test_s_is_below_the_order() -> None:
    s = int.from_bytes(SIGNATURE[32:], "little") + L
    malleable = SIGNATURE[:32] + s.to_bytes(32, "little")
    found = refused(cose.Sign1(PROTECTED, b"payload", malleable), KEY.public_key())
    assert "does not match" in found


@pytest.mark.parametrize("size", [0, 31, 32, 63, 65])
def test_a_signature_of_another_size_is_refused(size: int) -> None:
    message = cose.Sign1(PROTECTED, b"payload", (SIGNATURE + b"\x00")[:size])
    with pytest.raises(VerificationError):
        cose.verify_ed25519(message, KEY.public_key())
