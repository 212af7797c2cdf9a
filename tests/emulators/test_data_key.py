"""Fresh data keys from the emulated key service: for whom, under which context, in which shape."""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import pytest

from bench.emulators.keyring import INSTANCE, OWNER
from enclave.tee.cms import unwrap
from tests.emulators.parties import (
    CONTEXT,
    PCRS,
    PRIVATE_KEY,
    Parties,
    decrypt,
    key_policy,
    recipient,
    refusal,
    serving,
)

DENIED = ("AccessDeniedException", 400)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Parties, Any]]:
    """(parties, an enclave's client): it may decrypt and generate, attested, for this model."""
    parties = Parties.create(tmp_path_factory.mktemp("kms"))
    with serving(parties) as url:
        policy = json.loads(key_policy(StringEquals={"kms:EncryptionContext:model": "minilm"}))
        policy["Statement"][1]["Action"] = ["kms:Decrypt", "kms:GenerateDataKey"]
        parties.client(url, OWNER).put_key_policy(KeyId=parties.arn, Policy=json.dumps(policy))
        yield parties, parties.client(url, INSTANCE)


def asked(parties: Parties, **changes: Any) -> dict[str, Any]:
    members = {
        "KeyId": parties.arn,
        "KeySpec": "AES_256",
        "EncryptionContext": CONTEXT,
        "Recipient": recipient(parties.document()),
    } | changes
    return {name: value for name, value in members.items() if value is not None}


@pytest.mark.attack(34)
def test_reply_has_the_shape_that_aws_documents(given: tuple[Parties, Any]) -> None:
    parties, enclave = given
    reply = enclave.generate_data_key(**asked(parties))
    members = {"CiphertextBlob", "CiphertextForRecipient", "KeyId"}
    assert set(reply) - {"ResponseMetadata"} == members
    assert reply["KeyId"] == parties.arn
    assert 1 <= len(reply["CiphertextBlob"]) <= 6144
    data_key = unwrap(reply["CiphertextForRecipient"], PRIVATE_KEY)
    again = enclave.decrypt(**decrypt(reply["CiphertextBlob"], parties.document()))
    assert unwrap(again["CiphertextForRecipient"], PRIVATE_KEY) == data_key
    assert len(data_key) == 32


def test_every_key_is_a_fresh_one(given: tuple[Parties, Any]) -> None:
    parties, enclave = given
    replies = [enclave.generate_data_key(**asked(parties)) for _ in range(2)]
    first, second = (unwrap(each["CiphertextForRecipient"], PRIVATE_KEY) for each in replies)
    assert first != second


@pytest.mark.attack(34)
def test_without_a_recipient_the_policys_condition_is_not_met(given: tuple[Parties, Any]) -> None:
    parties, enclave = given
    assert refusal(enclave.generate_data_key, **asked(parties, Recipient=None)) == DENIED


@pytest.mark.attack(3)
@pytest.mark.parametrize("debug", [True, False])
def test_another_image_is_denied(given: tuple[Parties, Any], debug: bool) -> None:
    parties, enclave = given
    pcrs = PCRS if debug else PCRS | {2: b"\x01" * 48}
    other = recipient(parties.document(pcrs=pcrs, debug=debug))
    assert refusal(enclave.generate_data_key, **asked(parties, Recipient=other)) == DENIED


@pytest.mark.attack(32)
@pytest.mark.parametrize("context", [{"model": "llama"}, {"Model": "minilm"}, {}])
def test_another_context_is_denied(given: tuple[Parties, Any], context: dict[str, str]) -> None:
    parties, enclave = given
    assert refusal(enclave.generate_data_key, **asked(parties, EncryptionContext=context)) == DENIED


@pytest.mark.attack(32)
def test_the_wrapped_key_opens_under_its_own_context_alone(given: tuple[Parties, Any]) -> None:
    parties, enclave = given
    blob = enclave.generate_data_key(**asked(parties))["CiphertextBlob"]
    other = CONTEXT | {"version": "2"}
    code = refusal(enclave.decrypt, **decrypt(blob, parties.document(), EncryptionContext=other))
    assert code == ("InvalidCiphertextException", 400)


@pytest.mark.parametrize(
    "changes",
    [
        {"KeySpec": None},
        {"NumberOfBytes": 32},
        {"KeySpec": None, "NumberOfBytes": 1025},
        {"KeySpec": "RSA_2048"},
    ],
    ids=["no size", "two sizes", "too large", "no symmetric key"],
)
def test_a_size_that_the_api_does_not_know_is_refused(
    given: tuple[Parties, Any], changes: dict[str, Any]
) -> None:
    parties, enclave = given
    code = refusal(enclave.generate_data_key, **asked(parties, **changes))
    assert code == ("ValidationException", 400)
