"""A policy that would protect nothing cannot be made."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256

import pytest

from bench.verify import tokens
from bench.verify.tokens import STS_AUDIENCE, Flavour
from enclave.wire.errors import VerificationError
from tests.verify import mint
from tests.verify.mint import OIDC

EMPTY: frozenset[str] = frozenset()


@pytest.mark.attack(42)
@pytest.mark.parametrize(
    ("what", "changes"),
    [
        ("anchor", {"anchor_sha256": bytes(32)}),
        ("emulated", {"emulated": False}),
        ("audience", {"audience": ""}),
        ("audience", {"audience": "a" * 513}),
        ("audience", {"audience": STS_AUDIENCE}),
        ("image", {"image_digest": ""}),
        ("image", {"image_digest": f"sha256:{'A5' * 32}"}),
        ("image", {"image_digest": f"sha256:{'a5' * 32}\n"}),
        ("hardware", {"hardware": EMPTY}),
        ("hardware", {"hardware": frozenset({"GCP_INTEL_TDX", "GCP_SHIELDED_VM"})}),
        ("names", {"service_accounts": EMPTY}),
        ("names", {"support_attributes": EMPTY}),
        ("overrides", {"env_override": {"LD_PRELOAD": "/usr/lib/fine.so"}}),
        ("gpu", {"gpu_models": frozenset({"any"})}),
        ("times", {"max_age_s": 3601}),
        ("times", {"max_age_s": 0}),
        ("times", {"skew_s": -1}),
    ],
)
def test_a_policy_that_protects_nothing_is_refused(what: str, changes: dict[str, object]) -> None:
    with pytest.raises(VerificationError) as caught:
        mint.policy(**changes)
    assert caught.value.step == f"policy {what}"


@pytest.mark.attack(49)
def test_an_emulators_key_set_has_to_be_called_one() -> None:
    with pytest.raises(VerificationError, match=r"^policy emulated"):
        mint.policy(OIDC, emulated=False)


def test_an_emulators_key_among_others_is_still_an_emulators() -> None:
    mixed = mint.attestor().key_set.replace(b'"keys": [', b'"keys": [{"kid": "google"}, ')
    for emulated in (True, False):
        with pytest.raises(VerificationError, match=r"^policy emulated"):
            mint.policy(OIDC, anchor=mixed, anchor_sha256=sha256(mixed).digest(), emulated=emulated)


@pytest.mark.parametrize("flavour", Flavour)
def test_googles_own_anchor_cannot_be_called_emulated(
    flavour: Flavour, monkeypatch: pytest.MonkeyPatch
) -> None:
    emulators = mint.policy(flavour)
    anchor = b'{"keys": [{"kid": "5b9c"}]}' if flavour is OIDC else emulators.anchor
    digest = sha256(anchor).digest()
    monkeypatch.setattr(tokens, "GOOGLE_ROOT_SHA256", digest)  # as if ours were theirs
    honest = replace(emulators, anchor=anchor, anchor_sha256=digest, emulated=False)
    assert honest.issuer == tokens.GOOGLE_ISSUER
    with pytest.raises(VerificationError, match=r"^policy emulated"):
        replace(honest, emulated=True)
