"""Compact JSON web signatures (RFC 7515), and of those only what Google's attestation service
makes: RS256, header members from a closed list, one encoding of everything.

No library: a general one (PyJWT) chooses the algorithm by what the token says, takes JSON with
repeated keys and base64 with stray bits, and each of these would have to be switched off or checked
again. What is left of it on `cryptography` is shorter than that.
"""

from __future__ import annotations

import json
import re
from base64 import b64decode, urlsafe_b64encode
from binascii import Error as BinasciiError
from collections.abc import Mapping
from dataclasses import dataclass
from itertools import accumulate
from typing import NoReturn

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.hashes import SHA256

from enclave.wire.errors import VerificationError

MAX_BYTES = 32 * 1024  # a genuine token with its three certificates has 11 KiB
MAX_DEPTH = 8
MAX_DIGITS = 19
STRING = re.compile(r'"(?:[^"\\]|\\.?)*"?', re.DOTALL)  # or what is left of one at the end
BRACKET = re.compile(r"[\[\]{}]")
ALGORITHM, TYPE = "RS256", "JWT"

KEY_BITS = range(2048, 4096 + 1)
EXPONENT = 65537


@dataclass(frozen=True, slots=True)
class Jws:
    """A well-formed token, and not more until `verify`; `signed` is what was signed."""

    header: Mapping[str, object]
    payload: bytes
    signed: bytes
    signature: bytes


def read(data: bytes, *, required: frozenset[str], optional: frozenset[str] = frozenset()) -> Jws:
    """The parts of a token; VerificationError names the failed step.

    1. size: at most 32 KiB, before anything is parsed
    2. envelope: three parts in base64url without padding, each in its one encoding
    3. header: a JSON object of the `required` members and no others than the `optional`, with the
       algorithm RS256. Whatever could name a key, a place to fetch one from, or another reading of
       the rest (jwk, jku, x5u, crit, b64) is thereby refused.
    """
    if len(data) > MAX_BYTES:  # 1
        raise VerificationError("size", found=f"{len(data)} bytes", expected=f"at most {MAX_BYTES}")
    parts = data.split(b".", 3)  # 2
    if len(parts) != 3:
        raise VerificationError(
            "envelope", found="another number of parts", expected="header.payload.signature"
        )
    head, payload, signature = (unpack(part, "envelope") for part in parts)
    header = read_object(head, "header")  # 3
    _check_header(header, required, optional)
    return Jws(header, payload, data[: data.rindex(b".")], signature)


def verify(token: Jws, key: RSAPublicKey) -> None:
    """That `key` signed header and payload, by RSASSA-PKCS1-v1_5 with SHA-256 (RFC 7518 3.3)."""
    try:
        key.verify(token.signature, token.signed, PKCS1v15(), SHA256())
    except InvalidSignature:
        raise VerificationError(
            "signature",
            found="a signature that does not match",
            expected="one by the vouched-for key over header and payload",
            hint="the token was changed, or made by another key",
        ) from None


def check_key(key: object, step: str) -> RSAPublicKey:
    """An RSA key of 2048 to 4096 bits with the usual exponent: others are weak, or made slow."""
    if not isinstance(key, RSAPublicKey):
        raise VerificationError(step, found=type(key).__name__, expected="an rsa key")
    exponent = key.public_numbers().e
    if key.key_size not in KEY_BITS or exponent != EXPONENT:
        raise VerificationError(
            step,
            found=f"{key.key_size} bits, exponent {exponent if exponent < 1 << 64 else 'large'}",
            expected=f"2048 to 4096 bits, exponent {EXPONENT}",
        )
    return key


def pack(data: bytes) -> bytes:
    """base64url without padding (RFC 7515 2)."""
    return urlsafe_b64encode(data).rstrip(b"=")


def unpack(text: bytes, step: str) -> bytes:
    """The inverse of `pack`, and of nothing else: no padding, stray bits, or other alphabet."""
    try:
        data = b64decode(text + b"=" * (-len(text) % 4), altchars=b"-_")
    except BinasciiError:
        data = b""
    if pack(data) != text:
        raise VerificationError(step, found="another encoding", expected="canonical base64url")
    return data


def read_object(data: bytes, step: str) -> dict[str, object]:
    """A JSON object (RFC 8259) without repeated keys, fractions, lone surrogates, deep nesting."""

    def refuse(found: str) -> NoReturn:
        raise VerificationError(step, found=found, expected="a json object, strictly written")

    def unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
        members = dict(pairs)
        if len(members) != len(pairs):
            refuse("a repeated key")
        return members

    def whole(digits: str) -> int:
        return int(digits) if len(digits) <= MAX_DIGITS else refuse("a huge number")

    try:
        text = data.decode()
        if _depth(text) > MAX_DEPTH:  # before a parser that would follow it
            refuse("deeper nesting")
        value = json.loads(
            text,
            object_pairs_hook=unique,
            parse_int=whole,
            parse_float=lambda _: refuse("a fraction"),
            parse_constant=lambda _: refuse("a constant that json does not have"),
        )
        json.dumps(value, ensure_ascii=False).encode()  # escapes can spell what UTF-8 has no way to
    except ValueError:
        refuse("something else")
    if type(value) is not dict:
        refuse("another json value")
    return value


def _depth(text: str) -> int:
    """Of brackets outside strings, in one pass."""
    brackets = BRACKET.findall(STRING.sub("", text))
    return max(accumulate(1 if bracket in "[{" else -1 for bracket in brackets), default=0)


def _check_header(
    header: Mapping[str, object], required: frozenset[str], optional: frozenset[str]
) -> None:
    names = frozenset(header)
    if not required <= names <= required | optional:
        raise VerificationError(
            "header",
            found=f"members {sorted(map(repr, names))}"[:200],
            expected=f"{sorted(required)}, and {sorted(optional)} or not",
            hint="keys come from the pinned root or the given key set, never from the token",
        )
    for name, expected in (("alg", ALGORITHM), ("typ", TYPE)):
        if name in header and header[name] != expected:
            raise VerificationError(
                "header", found=f"{name} {header[name]!r:.40}", expected=f"{name} {expected}"
            )
    if "kid" in header and type(header["kid"]) is not str:
        raise VerificationError("header", found="a kid of another type", expected="a text")
