"""`python -m bench.verify`: evidence of records."""

from __future__ import annotations

from pathlib import Path

from bench.image import measurements
from tests.verify import exhibits
from tests.verify.command import OLD_IMAGE, TRUST, run


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


def test_records_that_cannot_be_read_are_an_error_and_no_crash(folder: Path) -> None:
    lines = (folder / "tier1.jsonl").read_text().splitlines()
    (folder / "tier1.jsonl").write_text("\n".join([lines[0], "[]", *lines[1:]]))
    code, _, err = run(f"tier1.evidence.cbor manifest.cose {TRUST}")
    assert code == 1
    assert "line 2, field line" in err[0]


def test_evidence_is_not_judged_by_a_manifest_that_failed(folder: Path) -> None:
    exhibits.tamper(folder / "manifest.cose", b"tiny")
    _, out, _ = run(f"tier1.evidence.cbor manifest.cose {TRUST}")
    assert out[out.index("manifest.cose: signed manifest") - 1] == "  not judged"


def test_evidence_of_another_image_is_not_acceptable(folder: Path) -> None:
    path = folder / "measurements.json"
    path.write_text(path.read_text().replace(measurements.read(path).pcrs[2].hex(), OLD_IMAGE))
    code, out, _ = run(f"tier1.evidence.cbor manifest.cose {TRUST}")
    assert code == 3
    assert out[3].startswith("     2 failed      image and model")


def test_records_are_pointed_to_their_evidence(folder: Path) -> None:
    code, _, err = run("tier1.jsonl")
    assert (code, err[1]) == (4, "hint: records are judged by the .evidence.cbor file beside them")
