"""Who could lift the condition on the image, who may seal, and what the project itself sets."""

from __future__ import annotations

from typing import Any

import pytest

from bench.emulators import estate, keyring
from bench.verify.key_policy import require
from enclave.wire.errors import VerificationError
from tests.verify.key_policies import (
    ACCOUNT,
    ADMIN,
    ALLOWED,
    ERROR,
    OWNER,
    PARENT,
    ROOT,
    administer,
    allow,
    rules,
)

# escalation


@pytest.mark.parametrize(
    "action", ["kms:PutKeyPolicy", "kms:CreateGrant", "kms:ReplicateKey", "kms:Put*", "kms:Create*"]
)
def test_who_opens_the_key_cannot_lift_the_condition(action: str) -> None:
    assert rules(allow(), administer(PARENT, Action=action)) == {"escalation": ERROR}


def test_within_one_statement_as_well() -> None:
    found = rules(allow(Action=["kms:Decrypt", "kms:CreateGrant"]))
    assert found == {"escalation": ERROR}


@pytest.mark.parametrize(
    "opener",
    [
        "*",
        f"arn:aws:sts::{ACCOUNT}:assumed-role/admin/session",
        f"arn:aws:iam::{ACCOUNT}:role/some/path/admin",
    ],
)
def test_another_name_of_the_same_principal_is_seen(opener: str) -> None:
    found = rules(allow(Principal={"AWS": opener}), administer())
    assert found.pop("escalation") is ERROR


def test_another_role_is_another_principal() -> None:
    other = f"arn:aws:sts::{ACCOUNT}:assumed-role/parent/admin"
    assert rules(allow(Principal={"AWS": other}), administer()) == {}


def test_a_role_comes_under_its_account_s_root() -> None:
    assert rules(allow(), administer(ROOT))["escalation"] is ERROR
    other = administer("arn:aws:iam::444455556666:root")
    assert "escalation" not in rules(allow(), other)


def test_everyone_may_never_change_the_policy() -> None:
    assert rules(administer("*")) == {"escalation": ERROR}


# sealers: an exception by name


def sealing(*actions: str) -> dict[str, Any]:
    return allow("seal", Principal={"AWS": OWNER}, Action=[*actions], Condition=None)


def test_who_seals_is_an_error_unless_named() -> None:
    statement = sealing("kms:GenerateDataKey", "kms:PutKeyPolicy")
    assert rules(statement) == {"no-image": ERROR, "escalation": ERROR}
    assert rules(statement, sealers=(ADMIN,)) == {"no-image": ERROR, "escalation": ERROR}
    assert rules(statement, sealers=(OWNER,)) == {"no-image": ALLOWED, "escalation": ALLOWED}


def test_who_seals_may_never_decrypt() -> None:
    statement = sealing("kms:GenerateDataKey", "kms:Decrypt")
    assert rules(statement, sealers=(OWNER,)) == {"no-image": ERROR}
    later = allow("open", Principal={"AWS": OWNER})
    administrating = sealing("kms:GenerateDataKey", "kms:PutKeyPolicy")
    found = rules(administrating, later, sealers=(OWNER,))
    assert found == {"no-image": ALLOWED, "escalation": ERROR}


def test_a_sealer_beside_others_excuses_nobody() -> None:
    both = allow(Principal={"AWS": [OWNER, PARENT]}, Action="kms:GenerateDataKey", Condition=None)
    assert rules(both, sealers=(OWNER,)) == {"no-image": ERROR}


def test_everyone_is_no_sealer() -> None:
    found = rules(sealing("kms:GenerateDataKey"), administer("*"), sealers=(OWNER,))
    assert found == {"no-image": ALLOWED, "escalation": ERROR}


def test_who_administers_beside_a_sealer_is_not_excused() -> None:
    found = rules(sealing("kms:GenerateDataKey"), administer(ROOT), sealers=(OWNER,))
    assert found == {"no-image": ALLOWED, "root-delegation": ERROR, "escalation": ERROR}


# what the project itself sets


def test_the_local_platform_opens_its_key_to_the_image_alone() -> None:
    policy = estate.key_policy({0: b"\xaa" * 48, 1: b"\xbb" * 48, 2: b"\xcc" * 48})
    allowed = require(policy, sealers=(keyring.OWNER,))
    assert [(found.rule, found.severity) for found in allowed] == [
        ("no-image", ALLOWED),
        ("escalation", ALLOWED),
    ]
    with pytest.raises(VerificationError, match="key policy no-image") as caught:
        require(policy)
    assert caught.value.hint


def test_before_there_is_an_image_nobody_decrypts() -> None:
    require(estate.key_policy({}), sealers=(keyring.OWNER,))
