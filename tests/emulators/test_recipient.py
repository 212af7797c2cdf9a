"""The recipient of a key: honoured whole, or the request fails."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa

from bench.emulators import pki
from tests.emulators.parties import Parties, decrypt, now, recipient, refusal, spki


def other_root_document() -> bytes:
    foreign = Parties(pki.create(now()), Path(), "")
    return foreign.document()


@pytest.mark.parametrize(
    "fault", ["other root", "expired", "changed", "no key", "elliptic curve key", "3072 bits"]
)
def test_document_that_cannot_be_honoured_is_refused(
    parties: Parties, enclave: Any, wrapped: tuple[bytes, bytes], fault: str
) -> None:
    match fault:
        case "other root":
            document = other_root_document()
        case "expired":
            document = parties.document(at=now() - timedelta(hours=4))
        case "changed":
            document = parties.document()[:-1] + b"\x00"
        case "no key":
            document = parties.document(b"not a key")
        case "elliptic curve key":
            document = parties.document(spki(ec.generate_private_key(ec.SECP256R1())))
        case _:
            document = parties.document(spki(rsa.generate_private_key(65537, 3072)))
    code = refusal(enclave.decrypt, **decrypt(wrapped[1], document))
    assert code == ("ValidationException", 400)


@pytest.mark.attack(34)
@pytest.mark.parametrize(
    "changes", [{"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_1"}, {"AttestationDocument": None}]
)
def test_recipient_is_never_half_honoured(
    parties: Parties, owner: Any, changes: dict[str, Any]
) -> None:
    asked = recipient(parties.document()) | changes
    asked = {name: value for name, value in asked.items() if value is not None}
    code = refusal(owner.generate_data_key, KeyId=parties.arn, KeySpec="AES_256", Recipient=asked)
    assert code == ("ValidationException", 400)


def test_what_is_not_emulated_is_refused(parties: Parties, owner: Any) -> None:
    members = {"KeyId": parties.arn, "KeySpec": "AES_256", "DryRun": True}
    assert refusal(owner.generate_data_key, **members) == ("ValidationException", 400)
    assert refusal(owner.list_keys) == ("UnknownOperationException", 400)
