"""Tokens that no service made: other algorithms, headers that name keys, other encodings, JSON with
two readings, and whatever a flipped bit makes of an honest one.
"""

from __future__ import annotations

import hmac
import json
import time
from collections.abc import Callable
from datetime import timedelta

import pytest
from cryptography.hazmat.primitives.asymmetric import padding
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from hypothesis import given
from hypothesis import strategies as st

from bench.emulators.attestor import signed
from bench.verify import confidential_space, jwt
from bench.verify.tokens import Flavour
from enclave.wire.errors import VerificationError
from tests.verify import mint
from tests.verify.mint import NOW, OIDC, PKI


def refused(step: str, data: bytes, flavour: Flavour = PKI) -> None:
    with pytest.raises(VerificationError) as caught:
        mint.authenticate(data, flavour)
    assert caught.value.step == step


# Algorithms


@pytest.mark.attack(42)
@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("name", ["none", "None", "NONE", "", "HS256", "RS384", "PS256", "rs256"])
def test_any_other_algorithm_is_refused(name: str, flavour: Flavour) -> None:
    """Even under a signature that would be right by RS256."""
    refused("header", mint.header_token(flavour, alg=name), flavour)


@pytest.mark.attack(42)
@pytest.mark.parametrize("flavour", Flavour)
def test_an_unsigned_token_is_refused(flavour: Flavour) -> None:
    head, payload, _ = mint.header_token(flavour, alg="none").split(b".")
    refused("header", head + b"." + payload + b".", flavour)
    head, payload, _ = mint.token(flavour).split(b".")
    refused("signature", head + b"." + payload + b".", flavour)
    refused("envelope", head + b"." + payload, flavour)


@pytest.mark.attack(42)
@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("encoding", [Encoding.PEM, Encoding.DER])
@pytest.mark.parametrize("alg", ["HS256", "RS256"])
def test_the_public_key_as_a_shared_secret_is_refused(
    flavour: Flavour, encoding: Encoding, alg: str
) -> None:
    secret = mint.attestor().key(flavour).public_key()
    head, payload, _ = mint.header_token(flavour, alg=alg).split(b".")
    message = head + b"." + payload
    key = secret.public_bytes(encoding, PublicFormat.SubjectPublicKeyInfo)
    forged = message + b"." + jwt.pack(hmac.digest(key, message, "sha256"))
    refused("header" if alg == "HS256" else "signature", forged, flavour)


@pytest.mark.attack(42)
def test_a_pss_signature_is_refused() -> None:
    message = mint.token().rpartition(b".")[0]
    pss = padding.PSS(padding.MGF1(SHA256()), 32)
    signature = mint.attestor().key(PKI).sign(message, pss, SHA256())
    refused("signature", message + b"." + jwt.pack(signature))


# Headers


@pytest.mark.attack(42)
@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize(
    "change",
    [
        {"jku": "https://evil.invalid/keys"},
        {"x5u": "https://evil.invalid/chain"},
        {"jwk": {"kty": "RSA"}},
        {"x5t#S256": "AAAA"},
        {"crit": ["b64"], "b64": False},
        {"cty": "JWT"},
        {"zip": "DEF"},
        {"enc": "A128GCM"},
        {"typ": "at+jwt"},
        {"typ": None},
        {"alg": None},
        {"alg": ["RS256"]},
        {"kid": 7},
    ],
    ids=str,
)
def test_any_other_header_is_refused(change: dict[str, object], flavour: Flavour) -> None:
    refused("header", mint.header_token(flavour, **change), flavour)


@pytest.mark.attack(42)
def test_an_attackers_own_key_in_the_header_is_refused() -> None:
    key = mint.key_for("attacker")
    numbers = key.public_key().public_numbers()
    jwk = {"kty": "RSA", "n": jwt.pack(numbers.n.to_bytes(256, "big")).decode(), "e": "AQAB"}
    header = mint.attestor().header(OIDC) | {"jwk": jwk}
    payload = jwt.unpack(mint.token(OIDC).split(b".")[1], "test")
    refused("header", signed(header, payload, key), OIDC)


@pytest.mark.attack(42)
def test_flavours_do_not_stand_in_for_each_other() -> None:
    refused("header", mint.token(OIDC), PKI)
    refused("header", mint.token(PKI), OIDC)


def test_a_kid_says_nothing_in_a_token_with_a_chain() -> None:
    for kid in ("../../etc/passwd", None):
        assert mint.authenticate(mint.header_token(kid=kid)).audience == mint.AUDIENCE


@pytest.mark.attack(42)
@pytest.mark.parametrize("kid", ["", "other", "https://evil.invalid/key", "../key", "emulated-"])
def test_a_kid_that_is_not_in_the_set_is_refused(kid: str) -> None:
    refused("key", mint.header_token(OIDC, kid=kid), OIDC)


def test_a_repeated_header_member_is_refused() -> None:
    head = json.dumps(mint.attestor().header(PKI)).encode()
    for forged in (b'{"alg":"none",' + head[1:], head[:-1] + b',"alg":"RS256"}'):
        refused("header", b".".join([jwt.pack(forged), *mint.token().split(b".")[1:]]))


# Encodings


def envelopes() -> dict[str, bytes]:
    token = mint.token()
    head, payload, signature = token.split(b".")
    last = signature[-1:]  # 256 bytes leave four unused bits in the last character
    stray = bytes([last[0] + 1]) if last != b"w" else b"x"
    return {
        "padding": token + b"==",
        "stray bits": token[:-1] + stray,
        "a line feed": token + b"\n",
        "a space": b" " + token,
        "a zero byte": token + b"\0",
        "a trailing part": token + b".",
        "a trailing part with bytes": token + b".AAAA",
        "a missing part": head + b"." + payload,
        "an empty token": b"",
        "dots": b"..",
        "a line break inside": b".".join([head[:76] + b"\n" + head[76:], payload, signature]),
        "padding inside": b".".join([head, payload + b"=", signature]),
        "a whole quantum of padding": b".".join([head, payload + b"====", signature]),
        "the other alphabet": b".".join([head, payload[:-4] + b"+/+/", signature]),
        "one character left over": b".".join([head, payload, signature + b"AAA"]),
        "not ascii": token[:-1] + "é".encode(),
        "flattened json": json.dumps({"payload": payload.decode()}).encode(),
        "bytes of another encoding": token.decode().encode("utf-16"),
    }


@pytest.mark.parametrize("name", sorted(envelopes()))
def test_another_encoding_of_an_honest_token_is_refused(name: str) -> None:
    data = envelopes()[name]
    with pytest.raises(VerificationError) as caught:
        mint.authenticate(data)
    assert caught.value.step in ("envelope", "header", "signature")


def test_a_longer_signature_is_refused() -> None:
    message, _, signature = mint.token().rpartition(b".")
    raw = jwt.unpack(signature, "test")
    for forged in (raw + b"\0", b"\0" + raw, raw[:-1], bytes(256), bytes(255) + b"\x01"):
        refused("signature", message + b"." + jwt.pack(forged))


def test_an_oversize_token_is_refused_before_it_is_parsed() -> None:
    refused("size", b"." * (jwt.MAX_BYTES + 1))
    refused("size", mint.token(padding="x" * jwt.MAX_BYTES))


# JSON


@pytest.mark.attack(42)
@pytest.mark.parametrize(
    "payload",
    [
        b"",
        b"null",
        b"[]",
        b"{",
        b"{}{}",
        b'{"a":1}x',
        b'{"a":1,}',
        b'{"a":1,"a":1}',
        b'{"a":{"b":1,"b":2}}',
        b'{"a":[{"b":1,"\\u0062":2}]}',
        b'{"a":NaN}',
        b'{"a":-Infinity}',
        b'{"a":1.0}',
        b'{"a":1e3}',
        b'{"a":01}',
        b'{"a":"\\ud800"}',
        b'{"\\udfff":1}',
        b'{"a":"\xff"}',
        b'{"a":"\n"}',
        b"\xef\xbb\xbf{}",
        b"{'a':1}",
        b'{"a":1 /* */}',
        '{"a":1}'.encode("utf-16"),
        b'{"a":' + b"1" * 20 + b"}",
        b'{"a":' + b"[" * 8 + b"]" * 8 + b"}",
        b'{"a":' * 3000 + b"1" + b"}" * 3000,
        b'{"a":' + b"[" * 15000,
    ],
    ids=lambda payload: repr(payload[:24]),
)
def test_json_with_another_reading_is_refused(payload: bytes) -> None:
    refused("payload", mint.payload_token(payload))


def test_brackets_in_texts_are_no_nesting() -> None:
    for subject in ('[[[[[[[[[["{{{{{{{{{{\\', '"[[[[[[[[[[', '\\"[[[[[[[[[['):
        assert mint.authenticate(mint.token(sub=subject)).subject == subject


# Anything


@pytest.mark.parametrize("flavour", Flavour)
def test_one_flipped_bit_in_every_part(flavour: Flavour) -> None:
    """Every bit of the head's ends, of the payload and of the signature, one at a time."""
    honest = mint.token(flavour)
    head = honest.index(b".")
    places = [*range(80), *range(head - 40, len(honest), 7), len(honest) - 1]
    for at in places:
        flip_and_check(honest, flavour, at, at % 8)


@given(flavour=st.sampled_from(Flavour), at=st.integers(0, 1 << 20), bit=st.integers(0, 7))
def test_any_flipped_bit_is_refused(flavour: Flavour, at: int, bit: int) -> None:
    honest = mint.token(flavour)
    flip_and_check(honest, flavour, at % len(honest), bit)


def flip_and_check(honest: bytes, flavour: Flavour, at: int, bit: int) -> None:
    changed = bytearray(honest)
    changed[at] ^= 1 << bit
    with pytest.raises(VerificationError):
        mint.authenticate(bytes(changed), flavour)


@given(st.binary(max_size=200))
def test_any_payload_gives_a_token_or_the_declared_error(payload: bytes) -> None:
    with pytest.raises(VerificationError):  # no such payload has all claims
        mint.authenticate(mint.payload_token(payload, OIDC), OIDC)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@given(name=st.sampled_from(sorted(mint.claims())), value=JSON)
def test_any_value_of_a_claim_gives_a_token_or_the_declared_error(name: str, value: object) -> None:
    try:
        authentic = mint.authenticate(mint.token(OIDC, **{name: value}), OIDC)
        confidential_space.accept(authentic, mint.policy(OIDC), nonce=mint.NONCE, now=NOW)
    except VerificationError:
        return


@given(st.binary(max_size=300), st.sampled_from(["envelope", "key set", "x5c"]))
def test_noise_gives_the_declared_error(data: bytes, what: str) -> None:
    readers: dict[str, Callable[[], object]] = {
        "envelope": lambda: mint.authenticate(data),
        "key set": lambda: confidential_space.authenticate_oidc(mint.token(OIDC), key_set=data),
        "x5c": lambda: mint.authenticate(mint.x5c_token([data] * 3, mint.key_for("signer"))),
    }
    with pytest.raises(VerificationError):
        readers[what]()


def test_the_worst_inputs_cost_little() -> None:
    """Quotes, escapes and brackets up to the limit; a quadratic reader would need minutes."""
    size = jwt.MAX_BYTES * 3 // 5
    begin = time.process_time()
    for unit in (b'"', b'\\"', b"[", b"{", b'{"a":', b"1", b'"a",', b"\\u0000"):
        with pytest.raises(VerificationError):
            jwt.read_object(b'{"a":' + unit * (size // len(unit)), "payload")
    assert time.process_time() - begin < 5


def test_a_chain_is_judged_at_the_given_time() -> None:
    data = mint.token()
    with pytest.raises(VerificationError, match=r"^validity"):
        mint.authenticate(data, now=NOW + timedelta(days=60))
