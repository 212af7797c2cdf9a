"""Tokens of an emulated service: what is accepted, and for each rule what is not.

Every token here is rightly signed, so that the rule under test alone can refuse it.
"""

from __future__ import annotations

from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import pytest

from bench.emulators.attestor import Attestor, Workload
from bench.verify import confidential_space
from bench.verify.tokens import GOOGLE_ISSUER, STS_AUDIENCE, Flavour, TokenPolicy
from enclave.wire.binding import token_nonce
from enclave.wire.errors import LocalProtocolError, VerificationError
from tests.verify import mint
from tests.verify.mint import DIGEST, NONCE, NOW, OIDC, PKI, WORKLOAD

GPUS = [{"hwmodel": "GCP_NVIDIA_H100"}]
H100 = frozenset({"GCP_NVIDIA_H100"})


def accept(data: bytes, policy: TokenPolicy | None = None, now: datetime = NOW, **at: Any) -> Any:
    nonce = at.get("nonce", NONCE)
    policy = policy or mint.policy()
    authentic = mint.authenticate(data, policy.flavour)
    return confidential_space.accept(authentic, policy, nonce=nonce, now=now)


def refused(step: str, data: bytes, policy: TokenPolicy | None = None, **at: Any) -> None:
    with pytest.raises(VerificationError) as caught:
        accept(data, policy, **at)
    assert caught.value.step == step


@pytest.mark.parametrize("flavour", Flavour)
def test_an_honest_token_is_accepted(flavour: Flavour) -> None:
    """The premise of every test below."""
    attested = accept(mint.token(flavour), mint.policy(flavour))
    assert attested.emulated and attested.platform == "local"
    token = attested.token
    assert token.container.image_digest == DIGEST
    assert (token.nonces, token.flavour) == ((NONCE,), flavour)


def test_a_claimed_time_is_read() -> None:
    assert confidential_space.claimed_time(mint.token()) == NOW
    assert confidential_space.claimed_time(mint.token(OIDC)) == NOW


@pytest.mark.attack(42)
def test_a_token_of_the_other_flavour_is_refused() -> None:
    authentic = mint.authenticate(mint.token(OIDC), OIDC)
    with pytest.raises(VerificationError, match=r"^anchor"):
        confidential_space.accept(authentic, mint.policy(PKI), nonce=NONCE, now=NOW)


@pytest.mark.attack(42)
def test_a_token_of_another_emulators_root_is_refused() -> None:
    other = Attestor.create(NOW)
    data = other.sign(mint.claims(), PKI)
    with pytest.raises(VerificationError, match=r"^root"):
        mint.authenticate(data)
    authentic = confidential_space.authenticate_pki(data, root=other.root, now=NOW)
    with pytest.raises(VerificationError, match=r"^anchor"):
        confidential_space.accept(authentic, mint.policy(), nonce=NONCE, now=NOW)


@pytest.mark.attack(42)
@pytest.mark.parametrize("flavour", Flavour)
@pytest.mark.parametrize("issuer", [GOOGLE_ISSUER, "https://accounts.google.com", ""])
def test_an_emulator_cannot_speak_for_another_issuer(flavour: Flavour, issuer: str) -> None:
    refused("issuer", mint.token(flavour, iss=issuer), mint.policy(flavour))


@pytest.mark.attack(42)
@pytest.mark.parametrize("audience", [STS_AUDIENCE, "", mint.AUDIENCE + "/", mint.AUDIENCE.upper()])
def test_a_token_for_someone_else_is_refused(audience: str) -> None:
    refused("audience", mint.token(aud=audience))


@pytest.mark.attack(42)
def test_a_token_for_several_is_refused() -> None:
    with pytest.raises(VerificationError, match=r"^claim aud"):
        mint.authenticate(mint.token(aud=[mint.AUDIENCE]))


ISSUED = int(NOW.timestamp())


@pytest.mark.attack(42)
def test_an_expired_token_is_refused() -> None:
    refused("expiry", mint.token(), now=NOW + timedelta(seconds=3600))


def test_the_last_second_is_accepted() -> None:
    assert accept(mint.token(), now=NOW + timedelta(seconds=3599))


@pytest.mark.attack(42)
def test_a_token_of_the_future_is_refused_but_for_the_skew() -> None:
    assert accept(mint.token(), now=NOW - timedelta(seconds=60))
    refused("not before", mint.token(), now=NOW - timedelta(seconds=61))


def test_a_token_that_is_not_valid_yet_is_refused() -> None:
    refused("not before", mint.token(nbf=ISSUED + 61))
    refused("not before", mint.token(iat=ISSUED + 61))


@pytest.mark.attack(42)
@pytest.mark.parametrize("exp", [ISSUED + 3601, ISSUED, ISSUED - 1, 4906451851])
def test_a_life_other_than_up_to_an_hour_is_refused(exp: int) -> None:
    refused("life", mint.token(exp=exp))


def test_a_token_older_than_the_policy_says_is_refused() -> None:
    policy = mint.policy(max_age_s=300)
    assert accept(mint.token(), policy, now=NOW + timedelta(seconds=300))
    refused("freshness", mint.token(), policy, now=NOW + timedelta(seconds=301))


@pytest.mark.attack(42)
@pytest.mark.parametrize(
    "status", ["enabled", "enable", "disabled", "Disabled-since-boot", "disabled-since-boot ", ""]
)
def test_any_other_debug_status_is_refused(status: str) -> None:
    refused("debug mode", mint.token(dbgstat=status))


def test_a_debug_image_is_refused() -> None:
    refused("debug mode", mint.token(PKI, replace(WORKLOAD, debug=True)))


@pytest.mark.attack(42)
def test_a_machine_without_secure_boot_is_refused() -> None:
    refused("secure boot", mint.token(secboot=False))


def test_another_manufacturer_is_refused() -> None:
    refused("oem", mint.token(oemid=11128))


@pytest.mark.attack(42)
@pytest.mark.parametrize("model", ["GCP_SHIELDED_VM", "GCP_AMD_SEV", "gcp_intel_tdx", ""])
def test_a_model_that_the_policy_does_not_name_is_refused(model: str) -> None:
    refused("hardware", mint.token(hwmodel=model))


def test_a_tdx_machine_that_intels_parts_do_not_vouch_for_is_refused() -> None:
    refused("tcb", mint.token(attester_tcb=["GOOGLE"]))
    refused("tcb", mint.token(attester_tcb=None))


def test_an_old_tcb_is_refused() -> None:
    refused("tcb", mint.token(tdx={"gcp_attester_tcb_status": "OutOfDate"}))


def test_a_token_that_does_not_speak_of_its_tcb_is_accepted() -> None:
    assert accept(mint.token(tdx=None))


def test_an_amd_machine_is_accepted_where_the_policy_names_it() -> None:
    policy = mint.policy(hardware=frozenset({"GCP_AMD_SEV"}))
    assert accept(mint.token(PKI, replace(WORKLOAD, hardware="GCP_AMD_SEV")), policy)


@pytest.mark.attack(42)
@pytest.mark.parametrize("name", ["GCE", "CONFIDENTIAL_SPACE_", ""])
def test_another_operating_system_is_refused(name: str) -> None:
    refused("software", mint.token(swname=name))


@pytest.mark.attack(42)
@pytest.mark.parametrize("found", [[], None, ["LATEST", "USABLE"], ["stable"], ["EXPERIMENTAL"]])
def test_an_image_without_the_support_attribute_is_refused(found: object) -> None:
    submods = mint.submodule("confidential_space", support_attributes=found)
    refused("support", mint.token(submods=submods))


def test_a_preview_image_is_accepted_where_the_policy_says_so() -> None:
    submods = mint.submodule("confidential_space", support_attributes=["USABLE"])
    policy = mint.policy(support_attributes=frozenset({"USABLE"}))
    assert accept(mint.token(submods=submods), policy)


@pytest.mark.attack(42)
def test_another_image_is_refused() -> None:
    refused("image", mint.token(PKI, Workload(f"sha256:{'a6' * 32}")))


def test_a_token_without_a_container_is_refused() -> None:
    submods = {"confidential_space": {"support_attributes": ["STABLE"]}}
    refused("image", mint.token(submods=submods))


def overridden(**changes: object) -> bytes:
    return mint.token(submods=mint.submodule("container", **changes))


@pytest.mark.attack(42)
@pytest.mark.parametrize(
    "env", [{"LD_PRELOAD": "/tmp/evil.so"}, {"MODEL": "other"}, {"MODEL": ""}, {"model": "mini"}]
)
def test_an_environment_override_that_is_not_listed_is_refused(env: dict[str, str]) -> None:
    refused("overrides", overridden(env_override=env), mint.policy(env_override={"MODEL": "mini"}))


def test_a_listed_environment_override_is_accepted() -> None:
    policy = mint.policy(env_override={"MODEL": "mini", "PORT": "1"})
    assert accept(overridden(env_override={"MODEL": "mini"}), policy)


@pytest.mark.attack(42)
@pytest.mark.parametrize("command", [["/bin/sh"], ["serve", "--debug"], ["--debug", "serve"], [""]])
def test_a_command_override_that_is_not_listed_is_refused(command: list[str]) -> None:
    policy = mint.policy(cmd_override=frozenset({("serve",)}))
    refused("overrides", overridden(cmd_override=command), policy)
    refused("overrides", overridden(cmd_override=command))


def test_a_listed_command_override_is_accepted() -> None:
    policy = mint.policy(cmd_override=frozenset({("serve", "--quiet")}))
    assert accept(overridden(cmd_override=["serve", "--quiet"]), policy)


@pytest.mark.parametrize("nothing", [None, [], {}])
def test_no_overrides_in_any_spelling_are_accepted(nothing: object) -> None:
    assert accept(overridden(**{"env_override" if nothing == {} else "cmd_override": nothing}))


@pytest.mark.attack(42)
@pytest.mark.parametrize("found", [[], None, ["other@x"], [WORKLOAD.service_account, "other@x"]])
def test_other_service_accounts_are_refused(found: object) -> None:
    refused("service accounts", mint.token(google_service_accounts=found))


def gpu(cc_mode: str, gpus: object = GPUS) -> bytes:
    return mint.token(submods=mint.submodule("nvidia_gpu", cc_mode=cc_mode, gpus=gpus))


@pytest.mark.attack(43)
@pytest.mark.parametrize("mode", ["OFF", "DEVTOOLS", "on", "ON ", ""])
@pytest.mark.parametrize("models", [frozenset(), H100])
def test_a_gpu_that_is_not_in_its_confidential_mode_is_refused(
    mode: str, models: frozenset[str]
) -> None:
    """Whether or not the policy asks for one: the workload would use it."""
    refused("gpu", gpu(mode), mint.policy(gpu_models=models))


def test_a_gpu_in_its_confidential_mode_is_accepted() -> None:
    assert accept(gpu("ON"), mint.policy(gpu_models=H100))
    assert accept(gpu("ON"))
    assert accept(
        mint.token(PKI, replace(WORKLOAD, gpu_cc_mode="ON")), mint.policy(gpu_models=H100)
    )


@pytest.mark.attack(43)
def test_a_gpu_that_is_asked_for_must_be_there() -> None:
    refused("gpu", mint.token(), mint.policy(gpu_models=H100))
    refused("gpu", gpu("ON", []), mint.policy(gpu_models=H100))


@pytest.mark.attack(43)
@pytest.mark.parametrize("model", ["GCP_NVIDIA_A100", "NVIDIA", ""])
def test_a_gpu_of_another_model_is_refused(model: str) -> None:
    refused("gpu", gpu("ON", [*GPUS, {"hwmodel": model}]), mint.policy(gpu_models=H100))


@pytest.mark.attack(43)
def test_a_gpu_of_no_known_make_is_refused_even_where_none_is_asked_for() -> None:
    refused("gpu", gpu("ON", [{"hwmodel": "GPU"}]))


@pytest.mark.attack(42)
def test_a_nonce_of_another_session_is_refused() -> None:
    other = token_nonce(b"\x01" * 32, b"\x03" * 32, b"confbench test")
    refused("nonce", mint.token(), nonce=other)
    refused("nonce", mint.token(eat_nonce=NONCE[:-1]))
    refused("nonce", mint.token(eat_nonce=NONCE + "A"))


@pytest.mark.attack(42)
def test_a_token_without_a_nonce_is_refused() -> None:
    refused("nonce", mint.token(eat_nonce=None))
    refused("nonce", mint.token(eat_nonce=[]))


def test_a_single_nonce_in_a_list_is_accepted() -> None:
    assert accept(mint.token(eat_nonce=[NONCE]))


@pytest.mark.attack(42)
@pytest.mark.parametrize("nonces", [[NONCE, "another"], ["another", NONCE], [NONCE, NONCE]])
def test_two_nonces_are_refused(nonces: list[str]) -> None:
    refused("nonce", mint.token(eat_nonce=nonces))


def test_more_nonces_than_the_service_gives_are_refused() -> None:
    with pytest.raises(VerificationError, match=r"^claim eat_nonce"):
        mint.authenticate(mint.token(eat_nonce=["n"] * 7))


def test_a_short_challenge_is_our_own_mistake() -> None:
    with pytest.raises(LocalProtocolError):
        accept(mint.token(), nonce="short")


def test_no_nonce_is_compared_where_none_was_sent() -> None:
    assert accept(mint.token(eat_nonce=None), nonce=None)


def test_a_time_without_a_zone_is_our_own_mistake() -> None:
    naive = NOW.replace(tzinfo=None)
    with pytest.raises(LocalProtocolError):
        mint.authenticate(mint.token(), now=naive)
    with pytest.raises(LocalProtocolError):
        accept(mint.token(), now=naive)
