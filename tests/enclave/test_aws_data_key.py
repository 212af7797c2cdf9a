"""A fresh data key for an attested enclave: the real exchange, and replies that are no such key."""

from __future__ import annotations

import json
from base64 import b64encode
from collections.abc import Iterator

import pytest

from bench.emulators import kms
from bench.emulators.keyring import OWNER
from bench.host.relay import Relay
from enclave.tee import KMS_PORT
from enclave.tee.aws import (
    Access,
    decrypt_with_recipient,
    generate_data_key_with_recipient,
)
from enclave.tee.cms import UNREADABLE, KeyReleaseError
from enclave.wire.errors import LocalProtocolError
from tests.emulators.parties import CONTEXT, PCRS, Parties, key_policy
from tests.enclave.hosts import (
    ARN,
    DATA_KEY,
    RECIPIENT,
    Host,
    access,
    address,
    attested,
    caller,
    envelope,
    http,
    hybrid,
    json_reply,
)


@pytest.fixture(scope="module")
def given(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Parties, Access]]:
    """(parties, access): the emulator as a process, whose policy lets an enclave have data keys."""
    folder = tmp_path_factory.mktemp("host")
    parties = Parties.create(folder / "kms")
    with kms.run(parties.state) as url, Relay(folder / f"v.sock_{KMS_PORT}", address(url)):
        policy = json.loads(key_policy())
        policy["Statement"][1]["Action"] = ["kms:Decrypt", "kms:GenerateDataKey"]
        parties.client(url, OWNER).put_key_policy(KeyId=parties.arn, Policy=json.dumps(policy))
        yield parties, caller(parties, url, hybrid(folder))


def test_a_fresh_key_comes_and_comes_again(given: tuple[Parties, Access]) -> None:
    parties, place = given
    recipient = attested(parties.document())
    key = generate_data_key_with_recipient(place, recipient, parties.arn, CONTEXT)
    again = decrypt_with_recipient(place, recipient, parties.arn, CONTEXT, key.wrapped)
    assert again == key.plaintext and len(key.plaintext) == 32
    assert key.plaintext.hex() not in repr(key) and "plaintext" not in repr(key)


@pytest.mark.attack(32, 34)
def test_refusals_carry_the_services_own_code(given: tuple[Parties, Access]) -> None:
    parties, place = given
    other = attested(parties.document(pcrs=PCRS | {1: b"\x01" * 48}))
    with pytest.raises(KeyReleaseError, match="AccessDeniedException"):
        generate_data_key_with_recipient(place, other, parties.arn, CONTEXT)
    with pytest.raises(KeyReleaseError, match="ValidationException"):
        generate_data_key_with_recipient(place, RECIPIENT, parties.arn, CONTEXT)
    elsewhere = parties.arn.replace("000000000000", "111111111111")
    with pytest.raises(KeyReleaseError, match="NotFoundException"):
        generate_data_key_with_recipient(place, attested(parties.document()), elsewhere, CONTEXT)


@pytest.mark.attack(33)
def test_key_has_to_be_named_by_its_full_arn() -> None:
    with pytest.raises(LocalProtocolError, match="alias/mine"):
        generate_data_key_with_recipient(access(Host(b"")), RECIPIENT, "alias/mine", {})


def reply(**changes: object) -> bytes:
    wrapped = b64encode(b"wrapped").decode()
    members = {"KeyId": ARN, "CiphertextForRecipient": envelope(), "CiphertextBlob": wrapped}
    found = members | changes
    return json_reply(**{name: value for name, value in found.items() if value is not ...})


@pytest.mark.parametrize("plaintext", [..., None, ""], ids=["absent", "null", "empty"])
def test_reply_in_good_order_is_believed(plaintext: object) -> None:
    """The control of the tests below; AWS documents a Plaintext that is null or empty."""
    host = Host(reply(Plaintext=plaintext))
    key = generate_data_key_with_recipient(access(host), RECIPIENT, ARN, {})
    assert (key.plaintext, key.wrapped) == (DATA_KEY, b"wrapped")


@pytest.mark.attack(33, 34)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(
            reply(Plaintext=b64encode(DATA_KEY).decode()), "sent a plaintext", id="plaintext"
        ),
        pytest.param(reply(Plaintext="AA=="), "sent a plaintext", id="short plaintext"),
        pytest.param(reply(KeyId=ARN + "0"), "another key", id="other key"),
        pytest.param(reply(KeyId=...), "another key", id="no key id"),
        pytest.param(reply(CiphertextForRecipient=...), UNREADABLE, id="no envelope"),
        pytest.param(reply(CiphertextForRecipient=envelope(bytes(16))), "16 bytes", id="AES-128"),
        pytest.param(reply(CiphertextForRecipient=envelope(bytes(33))), "33 bytes", id="33 bytes"),
        pytest.param(reply(CiphertextBlob=...), "wrapped in 0", id="not wrapped"),
        pytest.param(
            reply(CiphertextBlob=b64encode(bytes(6145)).decode()), "in 6145", id="wrapped too long"
        ),
        pytest.param(
            http("400 Bad Request", b'{"__type": "com.amazonaws.kms#DisabledException"}'),
            "DisabledException",
            id="key disabled",
        ),
    ],
)
def test_spoilt_reply_is_fatal(answer: bytes, reason: str) -> None:
    with pytest.raises(KeyReleaseError, match=reason):
        generate_data_key_with_recipient(access(Host(answer)), RECIPIENT, ARN, {})


@pytest.mark.attack(31)
def test_an_owner_can_retire_a_version_in_the_key_policy(given: tuple[Parties, Access]) -> None:
    """An enclave cannot know that a manifest is old; the key service can be told."""
    parties, place = given
    recipient, old = attested(parties.document()), CONTEXT
    new = CONTEXT | {"version": "2"}
    keys = {
        context["version"]: generate_data_key_with_recipient(place, recipient, parties.arn, context)
        for context in (old, new)
    }
    current = key_policy(StringEquals={"kms:EncryptionContext:version": "2"})
    owner = parties.client(place.url, OWNER)
    before = owner.get_key_policy(KeyId=parties.arn)["Policy"]
    owner.put_key_policy(KeyId=parties.arn, Policy=current)
    try:
        opened = decrypt_with_recipient(place, recipient, parties.arn, new, keys["2"].wrapped)
        assert opened == keys["2"].plaintext
        with pytest.raises(KeyReleaseError, match="AccessDeniedException"):
            decrypt_with_recipient(place, recipient, parties.arn, old, keys["1"].wrapped)
        with pytest.raises(KeyReleaseError, match="InvalidCiphertextException"):
            decrypt_with_recipient(place, recipient, parties.arn, new, keys["1"].wrapped)
    finally:
        owner.put_key_policy(KeyId=parties.arn, Policy=before)
