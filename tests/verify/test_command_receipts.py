"""`python -m bench.verify`: receipts and statements."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from enclave.wire import receipt
from tests.verify import exhibits
from tests.verify.command import CORPORA, TRUST, needs_corpora, run


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


def test_a_receipt_of_another_key_is_not_authentic(folder: Path) -> None:
    code, _, err = run(f"receipt.cose --key {'07' * 32} {TRUST}")
    assert (code, err[0][:29]) == (1, "error: receipt.cose: SIG: fou")


def test_a_receipt_is_not_judged_by_a_document_that_failed(folder: Path) -> None:
    exhibits.tamper(folder / "document.cbor", b"i-0123")
    _, out, _ = run(f"receipt.cose document.cbor {TRUST}")
    assert out[out.index("document.cbor: attestation document") - 1] == "  not judged"


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


@needs_corpora
@pytest.mark.parametrize("name", ["v1-nitro-no-nonce", "v1-tdx-with-nonce"])
def test_published_receipts_are_verified(name: str, tmp_path: Path) -> None:
    vector = json.loads((CORPORA / "air-v1" / "valid" / f"{name}.json").read_text())
    (tmp_path / "receipt").write_bytes(bytes.fromhex(vector["receipt_hex"]))
    code, out, _ = run(f"{tmp_path / 'receipt'} --key {vector['public_key_hex']}")
    assert (code, out[-1]) == (0, "  verified")
    assert "  note: by the key given: nothing shows that an attested enclave holds it" in out


def test_a_statement_is_judged_by_the_document_beside_it(folder: Path) -> None:
    code, out, err = run(f"statement.cose document.cbor {TRUST}")
    assert out[: out.index("document.cbor: attestation document")] == [
        "statement.cose: session statement",
        "  statement",
        "     1 ok          envelope: a cose_sign1 with tag 18",
        "     2 ok          header: it says that this is a statement, not a receipt",
        "     3 ok          signature: by the attested receipt key",
        "     4 ok          fields: exactly those of a statement, within their bounds",
        f"  session: {'0c' * 32}",
        "  index: 0",
        "  receipts: 2",
        out[9],
        "  note: by itself: what came before it, and the receipts it counts, are not looked at",
        "  verified",
    ]
    assert (code, err) == (0, [])


def test_a_statement_by_the_key_given_says_whose_key_that_is_nobody_attested(folder: Path) -> None:
    key = exhibits.ENCLAVE.public_key().public_bytes_raw().hex()
    code, out, _ = run(f"statement.cose --key {key}")
    assert (code, out[-1]) == (0, "  verified")
    assert "  note: by the key given: nothing shows that an attested enclave holds it" in out


@pytest.mark.attack(30)
def test_a_statement_of_another_key_is_not_authentic(folder: Path) -> None:
    code, out, err = run(f"statement.cose --key {'07' * 32}")
    assert (code, out[-1]) == (1, "  not authentic")
    assert err[0].startswith("error: statement.cose: statement signature: found ")


def test_a_statement_without_a_key_is_not_judged(folder: Path) -> None:
    code, out, err = run("statement.cose")
    assert (code, out[-1]) == (2, "  not judged")
    assert err[1] == "hint: give the document's file too, or --key with the key in hex"
