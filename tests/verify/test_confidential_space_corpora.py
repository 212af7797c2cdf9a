"""A genuine token, and published test vectors, must get the verdict that stands beside them."""

from __future__ import annotations

import json
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509
from cryptography.hazmat.primitives.serialization import Encoding

from bench.verify import confidential_space, jwks, jwt
from bench.verify.tokens import (
    EMULATED_ISSUER,
    GOOGLE_ISSUER,
    GOOGLE_ROOT_SHA256,
    Flavour,
    Token,
    TokenPolicy,
)
from enclave.wire.errors import VerificationError
from tests.verify import mint

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
GENUINE = CORPORA / "gcp-confidential-space"
WYCHEPROOF = CORPORA / "wycheproof" / "json_web_signature_test.json"
AT = datetime(2025, 9, 5, 8, 30, tzinfo=UTC)

here = pytest.mark.skipif(not GENUINE.exists(), reason=f"the corpora are not here: no {GENUINE}")


def root() -> bytes:
    pem = (GENUINE / "google-cs-root.pem").read_bytes()
    return x509.load_pem_x509_certificate(pem).public_bytes(Encoding.DER)


def sample() -> bytes:
    return (GENUINE / "oak-sample.jwt").read_bytes()


def authentic(now: datetime = AT) -> Token:
    return confidential_space.authenticate_pki(sample(), root=root(), now=now)


def policy_for(audience: str, digest: str, model: str, accounts: tuple[str, ...]) -> TokenPolicy:
    return TokenPolicy(
        Flavour.PKI,
        root(),
        GOOGLE_ROOT_SHA256,
        audience,
        digest,
        frozenset({model}),
        frozenset(accounts),
    )


def sample_policy() -> TokenPolicy:
    return policy_for(
        "z08381475938604996746",
        "sha256:e2e5e3672f416ac9ca71aa639abf86db0b713729a48c125a925af6c808b20b5d",
        "GCP_INTEL_TDX",
        ("724467010559-compute@developer.gserviceaccount.com",),
    )


@here
def test_googles_token_is_accepted_at_its_time() -> None:
    nonce = "75a91c8dbe289f190d5e70ab1cb70c93cc14d7243f0ef3ff5326a622ead220a6"
    attested = confidential_space.accept(authentic(), sample_policy(), nonce=nonce, now=AT)
    assert not attested.emulated and attested.platform == "gcp-confidential-space"
    assert attested.token.issuer == GOOGLE_ISSUER
    assert attested.token.subject.endswith("/instances/ctf-sha2-test")
    assert confidential_space.claimed_time(sample()) == AT - timedelta(minutes=12, seconds=30)


@here
@pytest.mark.parametrize(
    ("step", "after"),
    [("expiry", timedelta(hours=1)), ("not before", timedelta(minutes=-15))],
)
def test_googles_token_is_refused_at_another_time(step: str, after: timedelta) -> None:
    with pytest.raises(VerificationError) as caught:
        confidential_space.accept(authentic(), sample_policy(), nonce=None, now=AT + after)
    assert caught.value.step == step


@here
def test_googles_chain_is_refused_when_its_signer_has_expired() -> None:
    with pytest.raises(VerificationError, match=r"^validity: found the signer"):
        authentic(AT + timedelta(days=60))


@pytest.mark.attack(42, 49)
@here
def test_googles_token_is_no_emulators_and_an_emulators_no_googles() -> None:
    with pytest.raises(VerificationError, match=r"^root"):
        mint.authenticate(sample(), now=AT)
    with pytest.raises(VerificationError, match=r"^root"):
        confidential_space.authenticate_pki(mint.token(), root=root(), now=mint.NOW)
    with pytest.raises(VerificationError, match=r"^policy emulated"):
        replace(sample_policy(), emulated=True)


@here
def test_googles_token_with_a_flipped_bit_is_refused() -> None:
    honest = sample()
    for at in range(0, len(honest), 97):
        changed = bytearray(honest)
        changed[at] ^= 1
        with pytest.raises(VerificationError):
            confidential_space.authenticate_pki(bytes(changed), root=root(), now=AT)


# Claim templates: not signed by Google, so they are signed here, by an emulator in its own name.


@pytest.mark.attack(42)
@here
@pytest.mark.parametrize(
    ("name", "issued_at_s", "step"),
    [
        ("oak-claims", 1751391092, None),
        ("oak-policy_claims", 1750688551, None),
        ("oak-debug_claims", 1751391092, "debug mode"),
        ("oak-expired_claims", 1751391092, "expiry"),
        ("oak-long_lived_claims", 1750688551, "life"),
    ],
)
def test_a_claim_template_gets_its_verdict(name: str, issued_at_s: int, step: str | None) -> None:
    claims = json.loads((GENUINE / f"{name}.json").read_text()) | {"iss": EMULATED_ISSUER}
    now = datetime.fromtimestamp(issued_at_s, UTC)
    token = mint.authenticate(mint.attestor().sign(claims, Flavour.PKI))
    assert token.container is not None
    policy = mint.policy(
        audience=token.audience,
        image_digest=token.container.image_digest,
        hardware=frozenset({"GCP_AMD_SEV"}),
        service_accounts=frozenset(token.service_accounts),
    )
    if step is None:
        accepted = confidential_space.accept(token, policy, nonce=token.nonces[0], now=now)
        assert accepted.token is token
        return
    with pytest.raises(VerificationError) as caught:
        confidential_space.accept(token, policy, nonce=None, now=now)
    assert caught.value.step == step


# JSON web signatures in general


def vectors() -> list[Any]:
    if not WYCHEPROOF.exists():
        skip = pytest.mark.skip(reason=f"the corpora are not here: no {WYCHEPROOF}")
        return [pytest.param({}, {}, marks=skip, id="absent")]
    groups = json.loads(WYCHEPROOF.read_text())["testGroups"]
    pairs = [(group, test) for group in groups for test in group["tests"]]
    return [
        pytest.param(group.get("public") or group["private"], test, id=str(test["tcId"]))
        for group, test in pairs
    ]


@pytest.mark.attack(42)
@pytest.mark.parametrize(("key", "test"), vectors())
def test_a_wycheproof_signature_gets_its_verdict(
    key: dict[str, object], test: dict[str, str]
) -> None:
    """Every vector of every algorithm: all but valid RS256 ones are to be refused."""

    def check() -> None:
        given = jwt.read(
            test["jws"].encode(),
            required=frozenset({"alg"}),
            optional=frozenset({"kid", "typ"}),
        )
        key_set = json.dumps({"keys": [key]}).encode()
        jwt.verify(given, jwks.key_of(key_set, str(key.get("kid"))))

    if test["result"] == "valid" and key.get("alg") == "RS256":
        check()
        return
    with pytest.raises(VerificationError):
        check()
