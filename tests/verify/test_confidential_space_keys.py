"""Key sets for OIDC tokens: a key that is not for RS256 signatures is none."""

from __future__ import annotations

import json

import pytest

from bench.verify import confidential_space, jwks, jwt
from bench.verify.tokens import Token
from enclave.wire.errors import VerificationError
from tests.verify import mint
from tests.verify.mint import OIDC


def key_set(**changes: object) -> bytes:
    key = json.loads(mint.attestor().key_set)["keys"][0] | changes
    return json.dumps({"keys": [{k: v for k, v in key.items() if v is not None}]}).encode()


def with_set(data: bytes) -> Token:
    return confidential_space.authenticate_oidc(mint.token(OIDC), key_set=data)


def test_what_a_key_set_may_leave_out() -> None:
    for changes in ({"use": None, "alg": None}, {"key_ops": ["verify"]}):
        assert with_set(key_set(**changes)).audience == mint.AUDIENCE


@pytest.mark.parametrize(
    "changes",
    [
        {"kty": "oct"},
        {"kty": None},
        {"use": "enc"},
        {"alg": "PS256"},
        {"alg": "HS256"},
        {"key_ops": ["encrypt"]},
        {"key_ops": "verify"},
        {"n": None},
        {"n": "AQAB"},
        {"n": "AQ=="},
        {"n": "é"},
        {"n": ""},
        {"e": "AAEAAQ"},
        {"e": "Aw"},
        {"e": "AQ"},
        {"e": 65537},
    ],
    ids=str,
)
def test_a_key_for_something_else_is_refused(changes: dict[str, object]) -> None:
    with pytest.raises(VerificationError, match=r"^key:"):
        with_set(key_set(**changes))


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"[]",
        b"{}",
        b'{"keys": []}',
        b'{"keys": {}}',
        b'{"keys": [1]}',
        b'{"keys": [{"kty": "RSA"}]}',
        b'{"keys": [{"kid": "a"}, {"kid": "a"}]}',
        json.dumps({"keys": [{"kid": str(i)} for i in range(17)]}).encode(),
        b" " * (jwt.MAX_BYTES + 1),
    ],
    ids=lambda data: repr(data[:30]),
)
def test_a_malformed_key_set_is_refused(data: bytes) -> None:
    with pytest.raises(VerificationError, match=r"^key set"):
        with_set(data)


def test_a_weak_key_is_refused() -> None:
    numbers = mint.small_key().public_key().public_numbers()
    weak = key_set(n=jwt.pack(numbers.n.to_bytes(128, "big")).decode())
    with pytest.raises(VerificationError, match="1024 bits"):
        jwks.key_of(weak, mint.attestor().kid)
