"""`python -m bench.verify`: attestation documents."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from bench.image import measurements
from bench.verify import document
from enclave.wire import cose
from tests.verify import exhibits, forge
from tests.verify.command import CORPORA, OLD_IMAGE, TRUST, needs_corpora, plays, run


def test_a_document_is_verified_step_by_step(folder: Path) -> None:
    plays(f"""
$ document.cbor {TRUST}
document.cbor: attestation document
  authentic
     1 ok          size: at most 20 KiB, before anything is parsed
     2 ok          envelope: cose_sign1, header exactly es384, nothing unprotected
     3 ok          payload: strict cbor, exactly the known fields within their limits
     4 ok          chain: from the pinned root to the enclave's certificate, all valid then
     5 ok          signature: by that certificate's key over header and payload
  acceptable
     1 ok          root: the policy's, and named emulated if it is
     2 ok          debug mode: the image is measured
     3 ok          pcrs: those of the image that was built
     4 ok          instance: pcr 4 measures the instance in module_id
     5 not asked   freshness: not older than the policy's limit, not ahead
     6 not asked   nonce: the verifier's challenge, whole
     7 not asked   public key: the one given
  platform: local
  module: {forge.MODULE}
  payload sha256: [..]
  note: judged as archived, at its own time 2026-06-01T12:00:00Z: not whether it is fresh (--at now)
  note: its root vouches for emulators only: emulated, no hardware isolation
  note: no --nonce: nothing shows that it was made for you, or once only
  verified
exit 0
""")


def test_a_live_document_is_fresh_and_answers_the_challenge(folder: Path) -> None:
    code, out, _ = run(
        f"document.cbor {TRUST} --at 2026-06-01T14:01:00+02:00 --nonce {forge.NONCE.hex()}"
    )
    assert code == 0
    assert "     5 ok          freshness: not older than the policy's limit, not ahead" in out
    assert "     6 ok          nonce: the verifier's challenge, whole" in out
    assert "  note: judged at 2026-06-01T12:01:00Z" in out
    assert not [line for line in out if "archived" in line]


@pytest.mark.attack(49)
def test_an_emulated_root_is_refused_unless_it_is_named(folder: Path) -> None:
    code, out, err = run("document.cbor --measurements measurements.json")
    assert code == 1
    assert "     4 failed      chain: from the pinned root to the enclave's" in "\n".join(out)
    assert "(aws nitro enclaves root g1)" in err[0]
    assert err[1].startswith("hint: --authority takes the public.json of an emulated platform")


def test_a_root_with_another_digest_is_not_trusted(folder: Path) -> None:
    public = json.loads((folder / "public.json").read_text())
    (folder / "public.json").write_text(json.dumps(public | {"root_sha256": "00" * 32}))
    code, out, err = run(f"document.cbor {TRUST}")
    assert (code, out) == (2, [])
    assert "the root's digest is not the one stated beside it" in err[0]


def test_another_image_is_not_acceptable(folder: Path) -> None:
    path = folder / "measurements.json"
    pcr = measurements.read(path).pcrs[0].hex()
    path.write_text(path.read_text().replace(pcr, OLD_IMAGE))
    code, out, err = run(f"document.cbor {TRUST}")
    assert (code, out[-1]) == (3, "  not acceptable")
    assert "     5 ok          signature: by that certificate's key over header and payload" in out
    assert "     3 failed      pcrs: those of the image that was built" in out
    assert err == [
        f"error: document.cbor: pcr 0: found {pcr}, expected {OLD_IMAGE}",
        "hint: another image runs there than the one that was built and measured",
    ]


@pytest.mark.attack(1, 2)
@pytest.mark.parametrize(
    ("option", "error"),
    [
        ("--at 2026-06-01T12:10:00Z", "freshness: found 600.000 s old"),
        (f"--nonce {'00' * 32}", f"nonce: found {forge.NONCE.hex()}"),
    ],
)
def test_a_stale_or_foreign_document_is_not_acceptable(
    folder: Path, option: str, error: str
) -> None:
    code, _, err = run(f"document.cbor {TRUST} {option}")
    assert code == 3
    assert err[0].startswith(f"error: document.cbor: {error}"), err


@needs_corpora
@pytest.mark.parametrize("name", ["base-2026", "evervault-beta-valid", "evervault-ga"])
def test_documents_of_real_hardware_are_authentic(name: str) -> None:
    path = CORPORA / "nitro-docs" / f"{name}.cbor"
    code, out, _ = run(str(path))
    assert (code, out[-1]) == (2, "  not judged")  # whose image it is, nobody said
    assert [line.split()[:2] for line in out[2:7]] == [[f"{n}", "ok"] for n in range(1, 6)]


@needs_corpora
def test_a_document_of_real_hardware_is_verified_with_its_measurements(folder: Path) -> None:
    real = (CORPORA / "nitro-docs" / "base-2026.cbor").read_bytes()
    (folder / "real.cbor").write_bytes(real)
    path = folder / "measurements.json"
    ours, text = measurements.read(path).pcrs, path.read_text()
    theirs = document.read(cose.parse(real, tagged=None).payload).pcrs
    for index, value in ours.items():
        text = text.replace(value.hex(), theirs[index].hex())
    path.write_text(text)
    code, out, _ = run("real.cbor --measurements measurements.json")
    assert (code, out[-1]) == (0, "  verified")
    assert "  platform: aws-nitro" in out
    assert "emulated, no hardware" not in "\n".join(out)
    exhibits.tamper(folder / "real.cbor", theirs[0])
    assert run("real.cbor --measurements measurements.json")[0] == 1


@needs_corpora
def test_a_real_document_with_a_bad_signature_is_not() -> None:
    code, out, _ = run(str(CORPORA / "nitro-docs" / "veracruz-bad-sig.cbor"))
    assert (code, out[-1]) == (1, "  not authentic")
