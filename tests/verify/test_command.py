"""`python -m bench.verify`: transcripts of what it prints, and its exit codes.

A transcript is a command after `$`, its output, its errors after `!`, and the exit code. `[..]`
stands for any text within a line.
"""

from __future__ import annotations

import io
import json
import re
import shlex
import shutil
import subprocess
import sys
from contextlib import redirect_stderr, redirect_stdout
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from bench.image import measurements
from bench.verify import __main__ as command
from bench.verify import document, report, steps
from bench.verify.report import Outcome
from enclave.wire import cose, receipt
from tests.verify import exhibits, forge

TRUST = "--measurements measurements.json --authority public.json"
OLD_IMAGE = "ab" * 48


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds of files, honest."""
    folder = tmp_path_factory.mktemp("exhibits")
    exhibits.make(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them to tamper with, and the place where commands run."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def run(line: str) -> tuple[int, list[str], list[str]]:
    """(exit code, lines of output, lines of error) of one command."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err):
        try:
            code = command.main(shlex.split(line))
        except SystemExit as ended:
            code = int(ended.code or 0)
    return code, out.getvalue().splitlines(), err.getvalue().splitlines()


def plays(transcript: str) -> None:
    """Whether a command does what its transcript says, to the line."""
    first, *expected = transcript.strip("\n").splitlines()
    code, out, err = run(first.removeprefix("$ "))
    found = [*out, *(f"! {line}" for line in err), f"exit {code}"]
    assert len(found) == len(expected), "\n".join(found)
    for line, pattern in zip(found, expected, strict=True):
        assert re.fullmatch(re.escape(pattern).replace(r"\[\.\.\]", ".*"), line), (line, pattern)


# 0: verified


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


def test_a_receipt_is_judged_by_the_document_beside_it(folder: Path) -> None:
    code, out, err = run(f"receipt.cose document.cbor {TRUST}")
    assert out[:6] == [
        "receipt.cose: air v1 receipt",
        "  receipt",
        "     1 ok          shape: size, envelope, headers, closed set of claims, profile",
        "     2 ok          signature: by the attested receipt key",
        "     3 ok          claims: they make sense by themselves",
        "     4 ok          expected: they fit the attested session and this policy",
    ]
    assert (code, err) == (0, [])


def test_a_manifest_is_verified_by_its_owner(folder: Path) -> None:
    plays("""
$ manifest.cose --authority public.json
manifest.cose: signed manifest
  manifest
     1 ok          envelope: a cose_sign1 with tag 18
     2 ok          header: it says that this is a manifest
     3 ok          signature: the model's owner made it
     4 ok          fields: exactly those of a manifest, within their bounds
  model: tiny
  version: 1
  source: seeded
  weights sha256: 0a0a[..]
  manifest sha256: [..]
  verified
exit 0
""")


def test_evidence_is_walked_with_the_records_beside_it(folder: Path) -> None:
    code, out, err = run(f"tier1.evidence.cbor manifest.cose {TRUST}")
    assert out[: out.index("manifest.cose: signed manifest")] == [
        "tier1.evidence.cbor: evidence of records",
        "  evidence",
        "     1 ok          plan: the records read, and state its identity",
        "     2 ok          image and model: the ones that were built, and signed by the owner",
        "     3 ok          documents: authentic and acceptable, each at its own time",
        "     4 ok          claims: receipt key, settings and manifest are the plan's",
        "     5 ok          receipts: by that key, for this session, in order",
        "     6 ok          statements: an unbroken chain over all receipts",
        "     7 ok          records: every line is one that the enclave committed to",
        "     8 ok          own times: the enclave's lines are the times it signed",
        "  records: tier1.jsonl",
        "  boots: 1",
        "  sessions: 1",
        "  receipts: 2",
        "  statements: 1",
        "  note: judged as archived, each document at its own time",
        "  note: its root vouches for emulators only: emulated, no hardware isolation",
        "  verified",
    ]
    assert (code, err) == (0, [])


def test_measurements_are_compared_with_the_image_beside_them(folder: Path) -> None:
    plays("""
$ measurements.json
measurements.json: measurements
  measurements
     1 ok          form: this schema, whole digests, what is said twice agrees
     2 ok          image: image.eif beside it measures as it says, to the byte
  platform: local
  enclave digest: [..]
  pcr 0: [..]
  pcr 1: [..]
  pcr 2: [..]
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


# 1: not authentic, by one byte in each kind of file

TAMPERED = {
    "document": ("document.cbor", b"i-0123", "document.cbor", "signature"),
    "receipt": ("receipt.cose", b"tiny", "receipt.cose document.cbor", "SIG"),
    "manifest": ("manifest.cose", b"tiny", "manifest.cose", "manifest signature"),
    "evidence": (
        *("tier1.evidence.cbor", b"\x0a" * 32, "tier1.evidence.cbor manifest.cose", "SIG"),
    ),
    "record line": (*("tier1.jsonl", b"1.5", "tier1.evidence.cbor manifest.cose", "record lines"),),
    "plan": ("tier1.jsonl", b"tiny", "tier1.evidence.cbor manifest.cose", "plan identity"),
    "image": ("image.eif", b"no kernel", "measurements.json", "image"),
}


@pytest.mark.parametrize("case", TAMPERED)
def test_one_changed_byte_is_not_authentic(folder: Path, case: str) -> None:
    name, part, files, step = TAMPERED[case]
    exhibits.tamper(folder / name, part)
    code, out, err = run(f"{files} {TRUST}")
    assert code == 1
    assert "  not authentic" in out
    file = files.split()[0]
    assert err[0].startswith(f"error: {file}: {step}: found "), err


def test_a_changed_pcr_is_not_the_image_s(folder: Path) -> None:
    path = folder / "measurements.json"
    pcr = measurements.read(path).pcrs[1].hex()
    path.write_text(path.read_text().replace(pcr, OLD_IMAGE))
    plays("""
$ measurements.json
measurements.json: measurements
  measurements
     1 ok          form: this schema, whole digests, what is said twice agrees
     2 failed      image: image.eif beside it measures as it says, to the byte
  not authentic
! error: measurements.json: image: found another in pcrs[1], expected abab[..]
! hint: build the image again
exit 1
""")


def test_what_comes_after_a_failure_is_not_reached(folder: Path) -> None:
    exhibits.tamper(folder / "manifest.cose", b"tiny")
    plays("""
$ manifest.cose --authority public.json
manifest.cose: signed manifest
  manifest
     1 ok          envelope: a cose_sign1 with tag 18
     2 ok          header: it says that this is a manifest
     3 failed      signature: the model's owner made it
     4 not reached fields: exactly those of a manifest, within their bounds
  not authentic
! error: manifest.cose: manifest signature: found a signature that does not match, expected one by \
the given key over these bytes
! hint: the message was changed, or another key signed it
exit 1
""")


@pytest.mark.attack(49)
def test_an_emulated_root_is_refused_unless_it_is_named(folder: Path) -> None:
    code, out, err = run("document.cbor --measurements measurements.json")
    assert code == 1
    assert "     4 failed      chain: from the pinned root to the enclave's" in "\n".join(out)
    assert "(aws nitro enclaves root g1)" in err[0]
    assert err[1].startswith("hint: --authority takes the public.json of an emulated platform")


def test_a_receipt_of_another_key_is_not_authentic(folder: Path) -> None:
    code, _, err = run(f"receipt.cose --key {'07' * 32} {TRUST}")
    assert (code, err[0][:29]) == (1, "error: receipt.cose: SIG: fou")


def test_records_that_cannot_be_read_are_an_error_and_no_crash(folder: Path) -> None:
    lines = (folder / "tier1.jsonl").read_text().splitlines()
    (folder / "tier1.jsonl").write_text("\n".join([lines[0], "[]", *lines[1:]]))
    code, _, err = run(f"tier1.evidence.cbor manifest.cose {TRUST}")
    assert code == 1
    assert "line 2, field line" in err[0]


# 2: wrong use, or something that a verdict needs is missing


@pytest.mark.parametrize(
    ("line", "error"),
    [
        ("", "the following arguments are required: FILE"),
        ("document.cbor --at yesterday", "argument --at: 'yesterday' is no time in ISO 8601"),
        ("document.cbor --at 2026-06-01T12:00:00", "argument --at: a time needs its zone"),
        ("document.cbor --nonce 00", "argument --nonce: '00' is not 16 to 512 bytes"),
        ("document.cbor --key zz", "argument --key: 'zz' is not 32 bytes in hexadecimal"),
        ("document.cbor --measurements absent.json", "what is to be trusted cannot be read"),
        ("document.cbor --authority measurements.json", "what is to be trusted cannot be read"),
    ],
)
def test_wrong_use_is_said_in_one_line_with_a_hint(folder: Path, line: str, error: str) -> None:
    code, out, err = run(line)
    assert (code, out) == (2, [])
    assert err[0].startswith(f"error: {error}"), err
    assert err[1] == "hint: python -m bench.verify --help"


@pytest.mark.parametrize(
    ("line", "hint"),
    [
        ("document.cbor --authority public.json", "--measurements takes the measurements.json"),
        ("receipt.cose", "give the document's file too, or --key"),
        ("manifest.cose", "--authority takes a public.json"),
        ("tier1.evidence.cbor manifest.cose --authority public.json", "--authority and --meas"),
        (f"tier1.evidence.cbor {TRUST}", "give the manifest.cose of the measured model too"),
        (f"tier1.evidence.cbor manifest.cose --at now {TRUST}", "leave out --at and --nonce"),
    ],
)
def test_without_what_it_needs_nothing_is_verified(folder: Path, line: str, hint: str) -> None:
    code, out, err = run(line)
    assert code == 2
    assert "  not judged" in out
    assert err[1].startswith(f"hint: {hint}"), err


def test_measurements_without_an_image_are_not_verified(folder: Path) -> None:
    (folder / "image.eif").unlink()
    code, out, err = run("measurements.json")
    assert (code, out[-1]) == (2, "  not judged")
    assert err[1].startswith("hint: put it there, or build it again")


def test_a_receipt_is_not_judged_by_a_document_that_failed(folder: Path) -> None:
    exhibits.tamper(folder / "document.cbor", b"i-0123")
    _, out, _ = run(f"receipt.cose document.cbor {TRUST}")
    assert out[out.index("document.cbor: attestation document") - 1] == "  not judged"


def test_evidence_is_not_judged_by_a_manifest_that_failed(folder: Path) -> None:
    exhibits.tamper(folder / "manifest.cose", b"tiny")
    _, out, _ = run(f"tier1.evidence.cbor manifest.cose {TRUST}")
    assert out[out.index("manifest.cose: signed manifest") - 1] == "  not judged"


def test_a_root_with_another_digest_is_not_trusted(folder: Path) -> None:
    public = json.loads((folder / "public.json").read_text())
    (folder / "public.json").write_text(json.dumps(public | {"root_sha256": "00" * 32}))
    code, out, err = run(f"document.cbor {TRUST}")
    assert (code, out) == (2, [])
    assert "the root's digest is not the one stated beside it" in err[0]


# 3: not acceptable


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


@pytest.mark.attack(49)
def test_an_evaluation_receipt_is_not_a_production_one(folder: Path) -> None:
    key = exhibits.ENCLAVE.public_key().public_bytes_raw().hex()
    code, _, err = run(f"receipt.cose --key {key}")
    assert code == 3
    assert err[0].endswith("SECURITY_MODE_POLICY: found evaluation, expected production")
    assert run(f"receipt.cose --key {key} --authority public.json")[0] == 0


@pytest.mark.parametrize(
    ("change", "step"),
    [
        ({"attestation_hash": b"\x05" * 32}, "ADHASH"),
        ({"nonce": b"\x05" * 32}, "NONCE"),
        ({"measurements": receipt.Measurements(*[b"\x05" * 48] * 3)}, "MEASUREMENTS"),
    ],
    ids=["attestation_hash", "nonce", "measurements"],
)
def test_a_receipt_has_to_fit_the_document(folder: Path, change: Any, step: str) -> None:
    path = folder / "receipt.cose"
    key = exhibits.ENCLAVE
    only_signed = receipt.Expected(security_mode="evaluation")
    honest = receipt.verify(path.read_bytes(), key.public_key(), expected=only_signed)
    path.write_bytes(receipt.issue(replace(honest, **change), key))
    code, _, err = run(f"receipt.cose document.cbor {TRUST}")
    assert (code, err[0].split(": found")[0]) == (3, f"error: receipt.cose: {step}")


def test_a_stale_receipt_is_not_acceptable(folder: Path) -> None:
    key = exhibits.ENCLAVE.public_key().public_bytes_raw().hex()
    at = "--at 2026-06-01T12:10:00Z"
    code, _, err = run(f"receipt.cose --key {key} --authority public.json {at}")
    assert (code, err[0]) == (
        3,
        "error: receipt.cose: FRESH: found 600 s old, expected at most 300 s",
    )


def test_evidence_of_another_image_is_not_acceptable(folder: Path) -> None:
    path = folder / "measurements.json"
    path.write_text(path.read_text().replace(measurements.read(path).pcrs[2].hex(), OLD_IMAGE))
    code, out, _ = run(f"tier1.evidence.cbor manifest.cose {TRUST}")
    assert code == 3
    assert out[3].startswith("     2 failed      image and model")


def test_a_key_policy_that_lets_others_in_is_not_acceptable(folder: Path) -> None:
    statement = {"Sid": "Root", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}
    statement["Principal"] = {"AWS": "arn:aws:iam::111122223333:role/someone"}  # type: ignore[assignment]
    (folder / "policy.json").write_text(json.dumps({"Statement": [statement]}))
    code, out, err = run("policy.json")
    assert (code, out[-1]) == (3, "  not acceptable")
    assert "no-image: found arn:aws:iam::111122223333:role/someone may kms:Decrypt" in err[0]


# 4: unreadable


@pytest.mark.parametrize(
    ("name", "found"),
    [
        ("absent", "no such file"),
        ("empty", "0 bytes of no known kind"),
        ("public.json", "[0-9]+ bytes of no known kind"),
        ("image.eif", "[0-9]+ bytes of no known kind"),
        (".", "no such file"),
    ],
)
def test_what_is_none_of_the_kinds_is_unreadable(folder: Path, name: str, found: str) -> None:
    (folder / "empty").touch()
    code, out, err = run(name)
    assert (code, out) == (4, [f"{name}: unknown", "  unreadable"])
    assert re.match(rf"error: {re.escape(name)}: file: found {found}, expected attestation", err[0])


def test_records_are_pointed_to_their_evidence(folder: Path) -> None:
    code, _, err = run("tier1.jsonl")
    assert (code, err[1]) == (4, "hint: records are judged by the .evidence.cbor file beside them")


def test_a_key_policy_with_a_repeated_name_is_unreadable(folder: Path) -> None:
    (folder / "policy.json").write_text('{"Statement": [], "Statement": []}')
    code, _, err = run("policy.json")
    assert code == 4
    assert "the name 'Statement' stands twice in one object" in err[0]


# several files, machines, and the door itself


def test_of_several_files_the_gravest_decides(folder: Path) -> None:
    everything = "document.cbor receipt.cose manifest.cose tier1.evidence.cbor measurements.json"
    assert run(f"{everything} {TRUST}")[0] == 0
    assert run(f"{everything} absent {TRUST}")[0] == 4
    assert run(f"{everything} absent {TRUST} --nonce {'00' * 32}")[0] == 3
    exhibits.tamper(folder / "manifest.cose", b"tiny")
    assert run(f"{everything} absent {TRUST} --nonce {'00' * 32}")[0] == 1


def test_for_machines_the_same_is_one_object(folder: Path) -> None:
    exhibits.tamper(folder / "manifest.cose", b"tiny")
    code, out, err = run(f"--json manifest.cose document.cbor {TRUST}")
    told: dict[str, Any] = json.loads("\n".join(out))
    assert (code, err) == (1, [])
    assert (told["schema"], told["exit"]) == (1, 1)
    manifest, attested = told["files"]
    assert manifest == {
        "file": "manifest.cose",
        "kind": "signed manifest",
        "outcome": "not authentic",
        "steps": [
            {"verifier": "manifest", "number": number, "result": result, "text": text}
            for number, (result, text) in enumerate(
                zip(
                    ("ok", "ok", "failed", "not reached"),
                    (step.text for step in steps.MANIFEST.steps),
                    strict=True,
                ),
                start=1,
            )
        ],
        "failure": {
            "step": "manifest signature",
            "found": "a signature that does not match",
            "expected": "one by the given key over these bytes",
            "hint": "the message was changed, or another key signed it",
        },
        "notes": [],
        "facts": {},
    }
    assert (attested["outcome"], attested["failure"]) == ("verified", None)


def test_help_names_every_exit_code() -> None:
    code, out, _ = run("--help")
    assert code == 0
    named = {int(line.split()[0]) for line in out if re.match(r"  [0-9]  \S", line)}
    assert named == set(Outcome)


def test_it_starts_as_a_module(folder: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "bench.verify", "absent"],
        cwd=exhibits.ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert (done.returncode, done.stdout) == (4, "absent: unknown\n  unreadable\n")
    assert done.stderr.startswith("error: absent: file: found no such file, expected ")


def test_a_file_cannot_steer_the_terminal() -> None:
    assert report.printable("a\x1b[2J\nb\u202ec") == r"a\x1b[2J\nb\u202ec"
    assert len(report.printable("x" * 10_000)) == report.LONGEST + 3


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
    which=st.sampled_from(
        ["document.cbor", "receipt.cose", "manifest.cose", "tier1.evidence.cbor", "tier1.jsonl"]
    ),
)
def test_no_flipped_bit_is_verified(folder: Path, place: float, bit: int, which: str) -> None:
    honest = (folder / which).read_bytes()
    data = bytearray(honest)
    data[int(place * len(data))] ^= 1 << bit
    (folder / which).write_bytes(data)
    judged = {"receipt.cose": "receipt.cose document.cbor"}
    files = judged.get(which, which)
    if which.startswith("tier1"):
        files = "tier1.evidence.cbor manifest.cose"
    try:
        code, _, err = run(f"{files} {TRUST}")
    finally:
        (folder / which).write_bytes(honest)
    assert code in (1, 2, 3, 4)  # 2: a manifest that no longer says so is not judged
    assert err


# files that others published

CORPORA = Path(__file__).parents[2].parent / "shared" / "corpora"
needs_corpora = pytest.mark.skipif(
    not CORPORA.is_dir(), reason="the public corpora are not beside this checkout"
)


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


@needs_corpora
@pytest.mark.parametrize("name", ["v1-nitro-no-nonce", "v1-tdx-with-nonce"])
def test_published_receipts_are_verified(name: str, tmp_path: Path) -> None:
    vector = json.loads((CORPORA / "air-v1" / "valid" / f"{name}.json").read_text())
    (tmp_path / "receipt").write_bytes(bytes.fromhex(vector["receipt_hex"]))
    code, out, _ = run(f"{tmp_path / 'receipt'} --key {vector['public_key_hex']}")
    assert (code, out[-1]) == (0, "  verified")
    assert "  note: by the key given: nothing shows that an attested enclave holds it" in out
