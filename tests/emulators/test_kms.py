"""The emulated key service, called by boto3 unchanged: what it releases, to whom, and what not."""

from __future__ import annotations

import http.client
import os
import signal
import subprocess
import sys
from base64 import b64encode
from contextlib import suppress
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bench.emulators import keyring, kms
from bench.emulators.aws_json import ServiceError
from bench.emulators.keyring import INSTANCE, OWNER
from enclave.tee.cms import unwrap
from tests.emulators.parties import (
    CONTEXT,
    PCRS,
    PRIVATE_KEY,
    Parties,
    decrypt,
    key_policy,
    now,
    recipient,
    refusal,
    serving,
)

# What is released


@pytest.mark.attack(34)
def test_attested_enclave_gets_the_data_key_in_an_envelope_alone(
    parties: Parties, enclave: Any, wrapped: tuple[bytes, bytes]
) -> None:
    data_key, blob = wrapped
    bodies: list[bytes] = []
    enclave.meta.events.register(
        "before-parse.kms.Decrypt",
        lambda response_dict, **_: bodies.append(response_dict["body"]),
        unique_id="bodies",
    )
    reply = enclave.decrypt(**decrypt(blob, parties.document(), KeyId=parties.arn))
    enclave.meta.events.unregister("before-parse.kms.Decrypt", unique_id="bodies")
    assert unwrap(reply["CiphertextForRecipient"], PRIVATE_KEY) == data_key
    assert reply["KeyId"] == parties.arn
    assert "Plaintext" not in reply
    assert b64encode(data_key) not in bodies[0]


def test_data_key_with_recipient_comes_in_an_envelope_alone(parties: Parties, owner: Any) -> None:
    reply = owner.generate_data_key(
        KeyId=parties.arn, NumberOfBytes=48, Recipient=recipient(parties.document())
    )
    assert "Plaintext" not in reply
    assert len(unwrap(reply["CiphertextForRecipient"], PRIVATE_KEY)) == 48


def test_random_bytes_with_recipient_come_in_an_envelope_alone(
    parties: Parties, enclave: Any
) -> None:
    reply = enclave.generate_random(NumberOfBytes=1024, Recipient=recipient(parties.document()))
    assert "Plaintext" not in reply
    assert len(unwrap(reply["CiphertextForRecipient"], PRIVATE_KEY)) == 1024


def test_random_bytes_without_recipient(enclave: Any) -> None:
    first, second = (enclave.generate_random(NumberOfBytes=32)["Plaintext"] for _ in range(2))
    assert len(first) == 32 and first != second


def test_encrypted_plaintext_is_decrypted(parties: Parties, owner: Any, enclave: Any) -> None:
    blob = owner.encrypt(KeyId=parties.arn, Plaintext=b"secret", EncryptionContext=CONTEXT)
    reply = enclave.decrypt(**decrypt(blob["CiphertextBlob"], parties.document()))
    assert unwrap(reply["CiphertextForRecipient"], PRIVATE_KEY) == b"secret"


def test_key_is_described(parties: Parties, owner: Any) -> None:
    metadata = owner.describe_key(KeyId=parties.arn)["KeyMetadata"]
    assert metadata["Arn"] == parties.arn and metadata["KeyState"] == "Enabled"
    by_id = owner.describe_key(KeyId=metadata["KeyId"])["KeyMetadata"]
    assert by_id == metadata


# What the key policy decides


def test_wrong_pcr_is_denied(parties: Parties, enclave: Any, wrapped: tuple[bytes, bytes]) -> None:
    for index in PCRS:
        other = parties.document(pcrs=PCRS | {index: b"\x01" * 48})
        code = refusal(enclave.decrypt, **decrypt(wrapped[1], other))
        assert code == ("AccessDeniedException", 400)


@pytest.mark.attack(3)
def test_debug_mode_is_denied(parties: Parties, enclave: Any, wrapped: tuple[bytes, bytes]) -> None:
    code = refusal(enclave.decrypt, **decrypt(wrapped[1], parties.document(debug=True)))
    assert code == ("AccessDeniedException", 400)


@pytest.mark.attack(34)
def test_enclave_role_without_recipient_is_denied(
    enclave: Any, wrapped: tuple[bytes, bytes]
) -> None:
    code = refusal(enclave.decrypt, CiphertextBlob=wrapped[1], EncryptionContext=CONTEXT)
    assert code == ("AccessDeniedException", 400)


def test_owner_cannot_decrypt_even_with_an_enclaves_document(
    parties: Parties, owner: Any, wrapped: tuple[bytes, bytes]
) -> None:
    code = refusal(owner.decrypt, **decrypt(wrapped[1], parties.document()))
    assert code == ("AccessDeniedException", 400)


@pytest.mark.parametrize(
    ("operation", "members"),
    [
        ("generate_data_key", {"KeySpec": "AES_256"}),
        ("encrypt", {"Plaintext": b"x"}),
        ("get_key_policy", {}),
        ("put_key_policy", {"Policy": key_policy()}),
        ("describe_key", {}),
    ],
)
def test_enclave_role_may_do_nothing_else(
    parties: Parties, enclave: Any, operation: str, members: dict[str, Any]
) -> None:
    code = refusal(getattr(enclave, operation), KeyId=parties.arn, **members)
    assert code == ("AccessDeniedException", 400)


def test_policy_can_ask_for_the_encryption_context(tmp_path: Path) -> None:
    parties = Parties.create(tmp_path)
    with serving(parties) as url:
        owner, enclave = parties.client(url, OWNER), parties.client(url, INSTANCE)
        policy = key_policy(StringEquals={"kms:EncryptionContext:model": "minilm"})
        owner.put_key_policy(KeyId=parties.arn, Policy=policy)
        assert owner.get_key_policy(KeyId=parties.arn)["Policy"] == policy
        for model, allowed in (("minilm", True), ("llama", False)):
            context = CONTEXT | {"model": model}
            blob = owner.encrypt(KeyId=parties.arn, Plaintext=b"x", EncryptionContext=context)
            members = decrypt(blob["CiphertextBlob"], parties.document(), EncryptionContext=context)
            if allowed:
                assert "CiphertextForRecipient" in enclave.decrypt(**members)
            else:
                assert refusal(enclave.decrypt, **members)[0] == "AccessDeniedException"


def test_policy_with_something_unknown_is_not_stored(parties: Parties, owner: Any) -> None:
    policy = key_policy(StringLike={"kms:RecipientAttestation:PCR0": "*"})
    code = refusal(owner.put_key_policy, KeyId=parties.arn, Policy=policy)
    assert code == ("MalformedPolicyDocumentException", 400)
    assert owner.get_key_policy(KeyId=parties.arn)["Policy"] == key_policy()


def test_policy_that_locks_its_author_out_is_not_stored(parties: Parties, owner: Any) -> None:
    policy = key_policy().replace("kms:PutKeyPolicy", "kms:CancelKeyDeletion")
    code = refusal(owner.put_key_policy, KeyId=parties.arn, Policy=policy)
    assert code == ("MalformedPolicyDocumentException", 400)
    assert owner.get_key_policy(KeyId=parties.arn)["Policy"] == key_policy()


# What a ciphertext has to be


@pytest.mark.attack(32)
@pytest.mark.parametrize(
    "context", [{}, {"model": "minilm"}, CONTEXT | {"version": "2"}, CONTEXT | {"more": "1"}]
)
def test_wrong_encryption_context_is_an_invalid_ciphertext(
    parties: Parties, enclave: Any, wrapped: tuple[bytes, bytes], context: dict[str, str]
) -> None:
    members = decrypt(wrapped[1], parties.document(), EncryptionContext=context)
    assert refusal(enclave.decrypt, **members) == ("InvalidCiphertextException", 400)


@pytest.mark.parametrize("at", [0, 1, 17, 29, -1])
def test_changed_ciphertext_is_invalid(
    parties: Parties, enclave: Any, wrapped: tuple[bytes, bytes], at: int
) -> None:
    blob = bytearray(wrapped[1])
    blob[at] ^= 1
    code = refusal(enclave.decrypt, **decrypt(bytes(blob), parties.document()))
    assert code == ("InvalidCiphertextException", 400)


def test_foreign_ciphertext_is_invalid(parties: Parties, enclave: Any) -> None:
    code = refusal(enclave.decrypt, **decrypt(b"\x01\x02\x03", parties.document()))
    assert code == ("InvalidCiphertextException", 400)


@pytest.mark.attack(33)
def test_another_key_is_incorrect(
    parties: Parties, enclave: Any, wrapped: tuple[bytes, bytes]
) -> None:
    other = keyring.create(parties.state, key_policy(), root=parties.root.der, now_s=0)
    code = refusal(enclave.decrypt, **decrypt(wrapped[1], parties.document(), KeyId=other))
    assert code == ("IncorrectKeyException", 400)


@pytest.mark.attack(33)
@pytest.mark.parametrize(
    "key_id",
    [
        "00000000-0000-0000-0000-000000000000",
        "arn:aws:kms:us-east-1:000000000000:key/00000000-0000-0000-0000-000000000000",
        "alias/mine",
        "../principals",
    ],
)
def test_unknown_key_is_not_found(owner: Any, key_id: str) -> None:
    assert refusal(owner.describe_key, KeyId=key_id) == ("NotFoundException", 400)


# The process


def test_own_process_serves_what_was_sealed_before(
    parties: Parties, wrapped: tuple[bytes, bytes]
) -> None:
    with kms.run(parties.state) as url:
        enclave = parties.client(url, INSTANCE)
        reply = enclave.decrypt(**decrypt(wrapped[1], parties.document()))
    assert unwrap(reply["CiphertextForRecipient"], PRIVATE_KEY) == wrapped[0]


def test_process_dies_with_a_killed_parent(parties: Parties) -> None:
    program = (
        "import sys\n"
        "from pathlib import Path\n"
        "from bench.emulators import kms\n"
        "with kms.run(Path(sys.argv[1])) as url:\n"
        "    print(url, flush=True)\n"
        "    sys.stdin.read()\n"
    )
    with subprocess.Popen(
        [sys.executable, "-c", program, str(parties.state)],
        cwd=Path(__file__).parents[2],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    ) as parent:
        assert parent.stdout is not None
        netloc = urlsplit(parent.stdout.readline().strip()).netloc
        connection = http.client.HTTPConnection(netloc, timeout=10)
        connection.request("POST", "/", b"{}")
        connection.getresponse().read()
        os.kill(parent.pid, signal.SIGKILL)
    with suppress(ConnectionResetError):  # its process is gone, and with it the connection
        assert connection.sock.recv(1) == b""
    connection.close()


def test_process_without_a_state_says_why(tmp_path: Path) -> None:
    with pytest.raises(OSError, match=r"principals\.json"), kms.run(tmp_path):
        pass


# Whatever the members are, the answer is one that AWS documents

VALUES = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(max_size=8) | st.just("AAAA"),
    lambda inner: (
        st.lists(inner, max_size=2) | st.dictionaries(st.text(max_size=4), inner, max_size=2)
    ),
    max_leaves=4,
)


@given(st.data(), st.sampled_from(sorted(kms.OPERATIONS)))
@settings(max_examples=300, deadline=None)
def test_no_request_ends_in_another_exception(
    parties: Parties, data: st.DataObject, operation: str
) -> None:
    ring = keyring.load(parties.state)
    service = kms.Kms(ring, now=now)
    names = st.sampled_from(sorted(kms.OPERATIONS[operation]))
    members = data.draw(st.dictionaries(names, VALUES, max_size=4))
    members |= {"KeyId": parties.arn} if data.draw(st.booleans()) else {}
    try:
        reply = service.call(operation, members, ring.principal(OWNER), {})
    except ServiceError:
        return
    assert isinstance(reply, dict)
