"""The published vectors of AIR v1 (CC BY 4.0, Cyntrisec)."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from enclave.wire import receipt
from enclave.wire.receipt import Expected

CORPUS = Path(__file__).parents[2].parent / "shared" / "corpora" / "air-v1"
A_YEAR_LATER = 1_772_000_000  # after every `iat`


def vectors(folder: str) -> list[Any]:
    files = sorted((CORPUS / folder).glob("*.json"))
    if not files:
        missing = pytest.mark.skip(reason="the corpus air-v1 is not beside this checkout")
        return [pytest.param({}, marks=missing)]
    return [pytest.param(json.loads(file.read_text()), id=file.stem) for file in files]


def of_policy(vector: dict[str, Any]) -> Expected:
    policy = dict(vector.get("verify_policy", {}))
    model_hash = policy.pop("expected_model_hash_hex", None)
    nonce = policy.pop("expected_nonce_hex", None)
    expected = Expected(
        now=A_YEAR_LATER,
        max_age_s=policy.pop("max_age_secs", None),
        platform=policy.pop("expected_platform", None),
        model_hash=bytes.fromhex(model_hash) if model_hash else None,
        nonce=bytes.fromhex(nonce) if nonce else None,
    )
    assert not policy, f"the vector expects what this test does not know: {policy}"
    return expected


def key_of(vector: dict[str, Any]) -> Ed25519PublicKey:
    text = vector.get("public_key_hex") or vector["wrong_public_key_hex"]
    return Ed25519PublicKey.from_public_bytes(bytes.fromhex(text))


@pytest.mark.attack(29)
@pytest.mark.parametrize("vector", vectors("invalid"))
def test_published_invalid_vectors(vector: dict[str, Any]) -> None:
    with pytest.raises(receipt.ReceiptError) as caught:
        receipt.verify(
            bytes.fromhex(vector["receipt_hex"]), key_of(vector), expected=of_policy(vector)
        )
    expected = vector["expected_failure"]
    found = (caught.value.layer, caught.value.step, caught.value.code)
    assert found == (expected["layer"], expected["check"], expected["code"])


@pytest.mark.parametrize("vector", vectors("valid"))
def test_published_valid_vectors_verify_and_are_issued_byte_for_byte(
    vector: dict[str, Any],
) -> None:
    data = bytes.fromhex(vector["receipt_hex"])
    stated = vector["claims"]
    nonce = bytes.fromhex(stated.get("eat_nonce_hex", "")) or None
    found = receipt.verify(data, key_of(vector), expected=Expected(nonce=nonce))
    assert (found.issuer, found.issued_at, found.sequence) == (
        stated["iss"],
        stated["iat"],
        stated["sequence_number"],
    )
    assert found.measurements.pcr2.hex() == stated["enclave_measurements"]["pcr2_hex"]
    seed = bytes.fromhex(vector["signing_key_seed_hex"])
    assert receipt.issue(found, Ed25519PrivateKey.from_private_bytes(seed)) == data
