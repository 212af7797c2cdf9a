"""`python -m bench.verify`: compliance bundles."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import pytest

from bench.image import measurements
from tests.verify import exhibits, runs
from tests.verify.command import OLD_IMAGE, TRUST, plays, run
from tests.verify.test_compliance_rows import CASES


def test_a_bundle_is_walked_property_by_property(folder: Path) -> None:
    plays(f"""
$ bundle.cbor {TRUST}
bundle.cbor: compliance bundle
  compliance
     1 proven      Attestation in every session (emulated): 1 documents under the root [..]
     2 not proven  Isolation by hardware (emulated): an emulator signed these documents[..]
     3 proven      Measured image, no debug mode (emulated): 1 documents with pcr 0 [..]
     4 proven      Fresh attestation in every session (emulated): 1 challenges
     5 proven      Transport encryption: HPKE, X25519, ChaCha20-Poly1305 (emulated): 1 [..]
     6 proven      Keys of its own in every boot (emulated): 1 attested Ed25519 keys
     7 proven      Receipt signing: Ed25519 on all receipts (emulated): 2 receipts [..]
     8 proven      All receipts kept (emulated): 2 receipts under 1 signed statements
     9 proven      Model integrity: SHA-256 against the manifest (emulated): 2 receipts [..]
    10 not proven  Model objects unchanged across boots (emulated): there is one boot: [..]
    11 proven      KMS-gated key release in every boot (emulated): 1 boots [..]
    12 proven      The key opens for this image alone: 2 statements, said to be of arn
    13 proven      The host's settings attested (emulated): 3 documents and receipts [..]
    14 proven      The numbers are those the enclave committed to (emulated): 1 digests [..]
    15 proven      The root, owner and image that the reviewer trusts: 5 digests: [..]
    16 not proven  Data zeroization: Python cannot wipe memory, and a receipt that [..]
    17 not proven  The key service enforces that policy: nobody signs what [..]
    18 not proven  Every session of the run is here: each session is whole in itself, [..]
    19 not proven  Time of receipts and attestation: the enclave's clock [..]
    20 not proven  The newest model: no memory survives an enclave, so [..]
    21 not proven  No side channels: timing, sizes of requests and [..]
    22 not proven  The host saw nothing but ciphertext: a bundle holds no traffic [..]
  proven: 13
  failed: 0
  not proven: 9
  bundle sha256: [..]
  note: judged as archived, each document at its own time
  note: its root vouches for emulators only: emulated, no hardware isolation
  verified
exit 0
""")


def test_a_bundle_needs_no_other_file_but_whom_to_trust(folder: Path) -> None:
    """By itself it is walked whole; that root, owner and image are the right ones, nobody said."""
    (folder / "alone").mkdir()
    shutil.copy(folder / "bundle.cbor", folder / "alone")
    code, out, err = run("alone/bundle.cbor")
    assert (code, out[-1]) == (2, "  not judged")
    assert "  proven: 12" in out
    assert "  failed: 0" in out
    assert err[0].startswith("error: alone/bundle.cbor: anchors: found root, owner and image of")
    assert err[1].startswith("hint: --authority and --measurements take")


@pytest.mark.parametrize("case", CASES)
def test_a_row_that_fails_decides_the_exit_code(folder: Path, case: str) -> None:
    row, changes, _ = CASES[case]
    (folder / "made.cbor").write_bytes(runs.make(changes).encode())
    code, out, err = run("made.cbor")
    acceptance = row in ("image", "key-policy")
    assert (code, out[-1]) == ((3, "  not acceptable") if acceptance else (1, "  not authentic"))
    assert "  failed: 1" in out
    assert err[0].startswith(f"error: made.cbor: {row}: found ")


def test_a_bundle_of_another_image_is_not_acceptable(folder: Path) -> None:
    path = folder / "measurements.json"
    path.write_text(path.read_text().replace(measurements.read(path).pcrs[1].hex(), OLD_IMAGE))
    code, _, err = run(f"bundle.cbor {TRUST}")
    assert code == 3
    assert err[0].startswith("error: bundle.cbor: anchors: found pcr 1: found ")


def test_a_bundle_of_another_owner_is_not_acceptable(folder: Path) -> None:
    public = json.loads((folder / "public.json").read_text())
    other = exhibits.ENCLAVE.public_key().public_bytes_raw().hex()
    (folder / "public.json").write_text(json.dumps(public | {"owner": other}))
    code, _, err = run(f"bundle.cbor {TRUST}")
    assert code == 3
    assert err[0].startswith("error: bundle.cbor: anchors: found owner: found ")


@pytest.mark.parametrize("option", ["--at now", f"--nonce {'00' * 32}"])
def test_archived_sessions_have_their_own_times_and_challenges(folder: Path, option: str) -> None:
    code, out, err = run(f"bundle.cbor {TRUST} {option}")
    assert (code, out[-1]) == (2, "  not judged")
    assert err[1].startswith("hint: leave out --at and --nonce")


def test_a_bundle_cut_short_is_not_authentic(folder: Path) -> None:
    path = folder / "bundle.cbor"
    path.write_bytes(path.read_bytes()[:-1])
    code, out, err = run(f"bundle.cbor {TRUST}")
    assert (code, out[-1]) == (1, "  not authentic")
    assert err[0].startswith("error: bundle.cbor: bundle: found cbor ends too early")


def test_for_machines_every_row_is_a_step(folder: Path) -> None:
    code, out, _ = run(f"--json bundle.cbor {TRUST}")
    told: dict[str, Any] = json.loads("\n".join(out))
    (file,) = told["files"]
    assert (code, told["exit"], file["outcome"]) == (0, 0, "verified")
    assert [step["number"] for step in file["steps"]] == list(range(1, 23))
    assert {step["result"] for step in file["steps"]} == {"proven", "not proven"}
    assert file["facts"]["proven"] == 13
