"""What the key service keeps and what it tells: nobody but its owner, and no secret."""

from __future__ import annotations

import json
import stat
from base64 import b64encode
from pathlib import Path

from bench.emulators import keyring
from bench.emulators.keyring import INSTANCE, OWNER
from tests.emulators.parties import PCRS, Parties, key_policy, recipient, refusal, serving


def test_every_decision_is_logged_without_a_secret(tmp_path: Path) -> None:
    parties = Parties.create(tmp_path)
    with serving(parties) as url:
        owner, enclave = parties.client(url, OWNER), parties.client(url, INSTANCE)
        made = owner.generate_data_key(KeyId=parties.arn, KeySpec="AES_256")
        members = {"CiphertextBlob": made["CiphertextBlob"], "EncryptionContext": {}}
        enclave.decrypt(**members, Recipient=recipient(parties.document()))
        refusal(enclave.decrypt, **members)
        refusal(parties.client(url, OWNER, aws_secret_access_key="x" * 40).list_keys)
    log = parties.log()
    assert [(line.get("operation"), line["outcome"]) for line in log] == [
        ("GenerateDataKey", "allowed"),
        ("Decrypt", "allowed"),
        ("Decrypt", "AccessDeniedException"),
        (None, "InvalidSignatureException"),
    ]
    assert log[1]["principal"] == INSTANCE and log[1]["recipient"]["pcr0"] == PCRS[0].hex()
    text = json.dumps(log)
    secrets = [holder.secret_access_key for holder in keyring.load(tmp_path).principals.values()]
    for secret in (*secrets, b64encode(made["Plaintext"]).decode(), made["Plaintext"].hex()):
        assert secret not in text


def test_state_is_for_its_owner_alone(parties: Parties, endpoint: str) -> None:
    assert stat.S_IMODE(parties.state.stat().st_mode) == 0o700
    for path in parties.state.rglob("*"):
        if path.is_file():
            assert stat.S_IMODE(path.stat().st_mode) == 0o600, path


def test_secrets_do_not_stand_in_representations(parties: Parties) -> None:
    ring = keyring.load(parties.state)
    key = ring.key(parties.arn)
    assert key is not None
    shown = repr((ring, key))
    assert repr(key.material)[2:-1] not in shown
    assert all(holder.secret_access_key not in shown for holder in ring.principals.values())


def test_access_keys_outlive_a_second_key(parties: Parties) -> None:
    before = keyring.load(parties.state).principals
    keyring.create(parties.state, key_policy(), root=parties.root.der, now_s=0)
    assert keyring.load(parties.state).principals == before
