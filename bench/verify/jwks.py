"""Key sets (RFC 7517) as Google publishes them for OIDC tokens. Nothing is fetched here.

A `kid` chooses among the keys of the given set by equality, and is never a place to look.
"""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey, RSAPublicNumbers

from bench.verify import jwt
from enclave.wire.errors import VerificationError

MAX_KEYS = 16
MEMBERS = {"use": "sig", "alg": jwt.ALGORITHM}  # where they are there, RFC 7517 4.2 and 4.4

Jwk = dict[str, object]


def keys(data: bytes) -> dict[str, Jwk]:
    """The keys of a set by their ids, which all have and no two share; unread otherwise."""
    if len(data) > jwt.MAX_BYTES:
        raise _error(f"{len(data)} bytes", f"at most {jwt.MAX_BYTES}")
    found = jwt.read_object(data, "key set").get("keys")
    if type(found) is not list or not 0 < len(found) <= MAX_KEYS:
        raise _error("no list of keys, or a long one", f"1 to {MAX_KEYS} keys")
    by_id: dict[str, Jwk] = {}
    for key in found:
        kid = key.get("kid") if type(key) is dict else None
        if type(kid) is not str or kid in by_id:
            raise _error("a key without an id of its own", "one kid for each key")
        by_id[kid] = key
    return by_id


def key_of(data: bytes, kid: str) -> RSAPublicKey:
    """The key of that id: RSA, for signatures by RS256 and for nothing else."""
    jwk = keys(data).get(kid)
    if jwk is None:
        raise VerificationError(
            "key",
            found=f"kid {kid[:80]!r}",
            expected="a key of the given set",
            hint="keys rotate: the set must be of the time when the token was made",
        )
    wrong = [name for name, value in MEMBERS.items() if jwk.get(name, value) != value]
    if wrong or jwk.get("kty") != "RSA" or not _may_verify(jwk):
        raise VerificationError(
            "key", found=f"a key for something else {wrong}", expected="an rsa key for rs256"
        )
    return jwt.check_key(_public_key(jwk), "key")


def _may_verify(jwk: Jwk) -> bool:
    operations = jwk.get("key_ops", ["verify"])  # RFC 7517 4.3
    return type(operations) is list and "verify" in operations


def _public_key(jwk: Jwk) -> RSAPublicKey:
    try:
        return RSAPublicNumbers(n=_number(jwk, "n"), e=_number(jwk, "e")).public_key()
    except ValueError:
        raise VerificationError("key", found="no rsa key", expected="modulus, exponent") from None


def _number(jwk: Jwk, name: str) -> int:
    """Base64urlUInt: big endian in as few bytes as it takes (RFC 7518 2)."""
    text = jwk.get(name)
    if type(text) is not str or not text.isascii():
        raise VerificationError("key", found=f"no {name}", expected="modulus and exponent")
    data = jwt.unpack(text.encode(), "key")
    if not data or data[0] == 0 or len(data) > jwt.KEY_BITS.stop // 8:
        raise VerificationError("key", found=f"{name} of {len(data)} bytes", expected="a key")
    return int.from_bytes(data, "big")


def _error(found: str, expected: str) -> VerificationError:
    return VerificationError("key set", found=found, expected=expected)
