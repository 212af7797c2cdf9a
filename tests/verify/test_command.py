"""`python -m bench.verify`: its options, exit codes and form for machines."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from bench.verify import report, steps
from bench.verify.report import Outcome
from tests.verify import exhibits
from tests.verify.command import TRUST, run


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
        (f"document.cbor --nonce {'x' * 22} {TRUST}", "what a token repeats is for tokens alone"),
        (f"document.cbor --nonce {'a' * 24} {TRUST}", "what a token repeats is for tokens alone"),
        (f"pki.jwt --nonce {'00' * 45}", "a longer challenge is for documents alone"),
    ],
)
def test_without_what_it_needs_nothing_is_verified(folder: Path, line: str, hint: str) -> None:
    code, out, err = run(line)
    assert code == 2
    assert "  not judged" in out
    assert err[1].startswith(f"hint: {hint}"), err


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
