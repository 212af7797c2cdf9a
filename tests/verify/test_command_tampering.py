"""`python -m bench.verify`: files that somebody changed."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from tests.verify import exhibits
from tests.verify.command import TRUST, run
from tests.verify.test_command_tokens import POLICY

FOLDER_STAYS = settings(
    max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)

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
    "statement": (
        "statement.cose",
        exhibits.SESSION,
        "statement.cose document.cbor",
        "statement signature",
    ),
    "bundle": ("bundle.cbor", b"i-0123", "bundle.cbor", "attestation"),
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


TOKENS = f"--root root.pem --jwks jwks.json {POLICY}"

# What judges each file, with all that an honest one needs to be verified.
JUDGED = {
    "document.cbor": f"document.cbor {TRUST}",
    "receipt.cose": f"receipt.cose document.cbor {TRUST}",
    "statement.cose": f"statement.cose document.cbor {TRUST}",
    "manifest.cose": f"manifest.cose {TRUST}",
    "tier1.evidence.cbor": f"tier1.evidence.cbor manifest.cose {TRUST}",
    "tier1.jsonl": f"tier1.evidence.cbor manifest.cose {TRUST}",
    "pki.jwt": f"pki.jwt {TOKENS}",
    "oidc.jwt": f"oidc.jwt {TOKENS}",
    "measurements.json": "measurements.json",
    "bundle.cbor": f"bundle.cbor {TRUST}",
}
# Some of their bytes are names, which nobody signed and nothing rests on: see test_bundle.py.
NAMED = ("bundle.cbor", "measurements.json")


@contextmanager
def changed(path: Path, data: bytes) -> Iterator[None]:
    honest = path.read_bytes()
    path.write_bytes(data)
    try:
        yield
    finally:
        path.write_bytes(honest)


@pytest.mark.parametrize("which", JUDGED)
def test_an_honest_file_is_verified(folder: Path, which: str) -> None:
    assert run(JUDGED[which])[0] == 0


@FOLDER_STAYS
@given(
    place=st.floats(0, 1, exclude_max=True),
    bit=st.integers(0, 7),
    which=st.sampled_from(sorted(JUDGED)),
)
def test_no_flipped_bit_is_verified(folder: Path, place: float, bit: int, which: str) -> None:
    path = folder / which
    data = bytearray(path.read_bytes())
    data[int(place * len(data))] ^= 1 << bit
    if data.strip() == path.read_bytes().strip():
        return  # a blank for a newline
    with changed(path, bytes(data)):
        code, _, err = run(JUDGED[which])
    assert code in ((0, 1, 2, 3, 4) if which in NAMED else (1, 2, 3, 4))
    assert bool(err) is bool(code)


@FOLDER_STAYS
@given(place=st.floats(0, 1, exclude_max=True), which=st.sampled_from(sorted(JUDGED)))
def test_no_file_cut_short_is_verified(folder: Path, place: float, which: str) -> None:
    path = folder / which
    honest = path.read_bytes()
    data = honest[: int(place * len(honest))]
    if data.strip() == honest.strip():
        return
    with changed(path, data):
        code, _, err = run(JUDGED[which])
    assert code in (1, 2, 3, 4)
    assert err[0].startswith("error: ")


@FOLDER_STAYS
@given(data=st.binary(max_size=200), which=st.sampled_from(sorted(JUDGED)), kept=st.integers(0, 80))
def test_any_bytes_have_an_exit_code_and_no_traceback(
    folder: Path, data: bytes, which: str, kept: int
) -> None:
    """Behind the first bytes of an honest file, so that each verifier sees some."""
    path = folder / which
    with changed(path, path.read_bytes()[:kept] + data):
        code, _, err = run(JUDGED[which])
    assert code in (1, 2, 3, 4)
    assert err[0].startswith("error: ")
