"""`python -m bench.verify`: Confidential Space tokens."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.verify import mint
from tests.verify.command import plays, run

ACCOUNT = mint.WORKLOAD.service_account
POLICY = f"--audience {mint.AUDIENCE} --image-digest {mint.DIGEST} --hardware GCP_INTEL_TDX "
POLICY += f"--service-account {ACCOUNT}"
PKI, OIDC = "pki.jwt --root root.pem", "oidc.jwt --jwks jwks.json"
EMULATED = "its root vouches for emulators only: emulated, no hardware isolation"


def test_a_token_with_certificates_is_verified_step_by_step(folder: Path) -> None:
    plays(f"""
$ {PKI} {POLICY}
pki.jwt: attestation token
  authentic (pki)
     1 ok          size, envelope, header: strict, rs256, nothing that names a key elsewhere
     2 ok          chain: from the signer's certificate to the pinned root, all valid then
     3 ok          signature: by that certificate's key over header and payload
     4 ok          payload: strict json, every claim that is judged of its exact type
  acceptable
     1 ok          anchor: the policy's root or key set
     2 ok          issuer: google's service, or the emulator's where it is named
     3 ok          audience: this verifier
     4 not asked   time: valid then, made for an hour at most, not too old
     5 ok          debug mode: disabled since boot
     6 ok          hardware: secure boot, google's, a named model, its tcb current
     7 ok          software: confidential space, with the support attributes asked for
     8 ok          image: the digest of the container
     9 ok          overrides: none of command or environment that is not listed
    10 ok          service accounts: some, and none but those listed
    11 ok          gpu: in confidential mode wherever there is one
    12 not asked   nonce: the one given, whole, and no other beside it
  platform: local
  flavour: PKI
  hardware: GCP_INTEL_TDX
  subject: [..]
  payload sha256: [..]
  note: judged as archived, at its own time 2026-06-01T12:00:00Z: not whether it is fresh (--at now)
  note: {EMULATED}
  note: no --nonce: nothing shows that it was made for you, or once only
  verified
exit 0
""")


def test_a_token_of_a_key_set_is_verified(folder: Path) -> None:
    code, out, err = run(f"{OIDC} {POLICY} --nonce {mint.NONCE} --at 2026-06-01T12:01:00Z")
    assert (code, out[-1], err) == (0, "  verified", [])
    assert out[1:4:2] == ["  authentic (oidc)", "     2 ok          key: the one of that id in the "
                          "key set, for rs256 signatures"]  # fmt: skip
    assert "  note: judged at 2026-06-01T12:01:00Z" in out
    assert not [line for line in out if "not asked" in line]


def test_a_root_may_be_given_in_der(folder: Path) -> None:
    assert run(f"pki.jwt --root root.der {POLICY}")[0] == 0


@pytest.mark.attack(42, 49)
@pytest.mark.parametrize(
    ("line", "step"),
    [
        (f"pki.jwt {POLICY}", "root"),
        (f"{PKI} {POLICY}", "signature"),
        (f"{OIDC} {POLICY}", "signature"),
    ],
    ids=["an emulator's root that nobody named", "pki", "oidc"],
)
def test_a_token_that_nobody_vouches_for_is_not_authentic(
    folder: Path, line: str, step: str
) -> None:
    path = folder / line.split()[0]
    if step == "signature":
        head, payload, signature = path.read_bytes().split(b".")
        path.write_bytes(b".".join((head, payload, b"A" * (len(signature) - 1))))
    code, out, err = run(line)
    assert (code, out[-1]) == (1, "  not authentic")
    assert err[0].startswith(f"error: {path.name}: {step}: found "), err


@pytest.mark.attack(42)
@pytest.mark.parametrize(
    ("old", "new", "step"),
    [
        (mint.AUDIENCE, "https://elsewhere.invalid", "audience"),
        (mint.DIGEST, f"sha256:{'00' * 32}", "image"),
        ("GCP_INTEL_TDX", "GCP_AMD_SEV", "hardware"),
        (ACCOUNT, "someone@else.invalid", "service accounts"),
        ("--hardware", "--nonce AAAAAAAAAAAAAAAAAAAAAAAA --hardware", "nonce"),
        ("--hardware", "--at 2026-06-01T13:00:01Z --hardware", "expiry"),
        ("--hardware", "--gpu-model GCP_NVIDIA_H100 --hardware", "gpu"),
        ("--hardware", "--support-attribute LATEST --support-attribute OLD --hardware", "support"),
    ],
)
def test_a_token_for_something_else_is_not_acceptable(
    folder: Path, old: str, new: str, step: str
) -> None:
    code, out, err = run(f"{OIDC} {POLICY.replace(old, new)}")
    assert (code, out[-1]) == (3, "  not acceptable")
    assert err[0].startswith(f"error: oidc.jwt: {step}: found "), err


def test_overrides_are_refused_unless_they_are_listed(folder: Path) -> None:
    changed = {"env_override": {"LEVEL": "9"}, "cmd_override": ["serve", "--fast"]}
    submods = mint.submodule("container", **changed)
    (folder / "oidc.jwt").write_bytes(mint.token(mint.OIDC, submods=submods))
    line = f"{OIDC} {POLICY}"
    assert run(line)[0] == 3
    assert run(f"{line} --allow-env LEVEL=8 --allow-command 'serve --fast'")[0] == 3
    assert run(f"{line} --allow-env LEVEL=9 --allow-command 'serve fast'")[0] == 3
    assert run(f"{line} --allow-env LEVEL=9 --allow-command 'serve --fast'")[0] == 0


@pytest.mark.parametrize(
    ("line", "error"),
    [
        (f"oidc.jwt {POLICY}", "key set: found none to verify with"),
        (PKI, "policy: found no --audience, --image-digest, --hardware, --service-account"),
        (OIDC, "policy: found no --audience, --image-digest, --hardware, --service-account"),
        (f"{PKI} {POLICY} --audience https://sts.googleapis.com", "policy audience: found"),
        (f"{PKI} {POLICY} --hardware GCP_SHIELDED_VM", "policy hardware: found"),
        (f"{PKI} {POLICY} --allow-env LD_PRELOAD=x", "policy overrides: found"),
    ],
)
def test_a_policy_that_would_protect_nothing_judges_nothing(
    folder: Path, line: str, error: str
) -> None:
    code, out, err = run(line)
    assert (code, out[-1]) == (2, "  not judged")
    assert err[0].startswith(f"error: {line.split()[0]}: {error}"), err


@pytest.mark.parametrize("name", ["jwks", "root"])
def test_what_vouches_for_tokens_has_to_be_readable(folder: Path, name: str) -> None:
    (folder / "bad").write_bytes(b"-----BEGIN NOTHING")
    code, out, err = run(f"pki.jwt --{name} bad")
    assert (code, out) == (2, [])
    assert err[0].startswith("error: what is to be trusted cannot be read: ")
