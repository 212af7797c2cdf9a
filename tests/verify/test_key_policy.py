"""Key policies that let others in: one fault each, and the rule that finds it."""

from __future__ import annotations

from typing import Any

import pytest

from bench.verify.key_policy import OPENS, lint
from tests.verify.key_policies import (
    ACCOUNT,
    ADMIN,
    ERROR,
    KEY,
    MEASURED,
    PARENT,
    PCR,
    ROOT,
    WARNING,
    administer,
    allow,
    condition,
    rules,
    text,
)


def test_an_image_that_decrypts_and_a_role_that_administers_are_fine() -> None:
    assert lint(text(allow(), administer())) == ()


@pytest.mark.parametrize("operator", ["StringEquals", "StringEqualsIgnoreCase"])
@pytest.mark.parametrize("key", ["PCR0", "ImageSha384", "pcr0"])
def test_both_names_of_the_image_and_both_equalities_count(operator: str, key: str) -> None:
    assert rules(allow(Condition=condition(operator, [PCR, "cd" * 48], f"{KEY}{key}"))) == {}


def test_what_narrows_further_is_no_fault() -> None:
    more = {"StringEquals": {"kms:EncryptionContext:model": "tiny"}, "Bool": {"aws:X": True}}
    assert rules(allow(Condition=MEASURED | more)) == {}


def test_a_deny_is_never_a_fault() -> None:
    assert rules(allow(Effect="Deny", Principal="*", Action="kms:*", Condition=None)) == {}


# no-image


@pytest.mark.attack(34)
@pytest.mark.parametrize("action", OPENS)
def test_whatever_opens_the_key_needs_an_image(action: str) -> None:
    assert rules(allow(Action=action, Condition=None)) == {"no-image": ERROR}


@pytest.mark.parametrize(
    "action", ["kms:Decrypt*", "kms:D*", "kms:Generate*", "KMS:decrypt", "kms:Decryp?", "kms:ReE*"]
)
def test_wildcards_and_case_hide_nothing(action: str) -> None:
    assert rules(allow(Action=["kms:DescribeKey", action], Condition=None)) == {"no-image": ERROR}


@pytest.mark.parametrize("action", ["*", "kms:*", "?ms:*"])
def test_every_action_is_an_escalation_too(action: str) -> None:
    found = rules(allow(Action=action, Condition=None))
    assert found == {"no-image": ERROR, "escalation": ERROR}


@pytest.mark.parametrize(
    "action",
    ["kms:DescribeKey", "kms:Encrypt", "kms:GenerateDataKeyWithoutPlaintext", "kms:GenerateRandom"],
)
def test_what_opens_nothing_needs_no_image(action: str) -> None:
    assert rules(allow(Action=action, Condition=None)) == {}


@pytest.mark.parametrize(
    "of_others",
    [
        condition("StringEquals", "tiny", "kms:EncryptionContext:model"),
        condition("StringEquals", PCR, f"{KEY}PCR1"),
        condition("StringEquals", PCR, f"{KEY}PCR3"),
        condition("StringEquals", PCR, "kms:RecipientAttestation"),
        {},
    ],
    ids=["context", "pcr1", "pcr3", "no such key", "empty"],
)
def test_other_conditions_are_no_image(of_others: dict[str, Any]) -> None:
    assert rules(allow(Condition=of_others)) == {"no-image": ERROR}


def test_one_good_statement_does_not_excuse_another() -> None:
    (finding,) = lint(text(allow("good"), allow("bad", Condition=None)))
    assert (finding.statement, finding.rule) == ("bad", "no-image")


def test_a_deny_elsewhere_is_not_counted() -> None:
    unless = {"StringNotEqualsIgnoreCase": {f"{KEY}PCR0": PCR}}
    deny = allow("deny", Effect="Deny", Principal="*", Condition=unless)
    assert rules(allow(Condition=None), deny) == {"no-image": ERROR}


def test_a_statement_without_a_name_goes_by_its_number() -> None:
    (finding,) = lint(text(allow(), allow(Sid=None, Condition=None)))
    assert finding.statement == "2"


# attack 16: the signer alone


@pytest.mark.attack(16)
def test_the_signer_alone_is_warned_of() -> None:
    signer = condition("StringEquals", PCR, f"{KEY}PCR8")
    assert rules(allow(Condition=signer)) == {"signer-only": WARNING}


def test_the_signer_beside_the_image_is_fine() -> None:
    both = {"StringEquals": {f"{KEY}PCR8": PCR, f"{KEY}PCR0": PCR}}
    assert rules(allow(Condition=both)) == {}


# loose-condition


@pytest.mark.parametrize(
    "operator",
    [
        *("StringEqualsIfExists", "StringEqualsIgnoreCaseIfExists", "StringLike", "Null"),
        *("ForAllValues:StringEquals", "ForAnyValue:StringEquals", "StringNotEquals", "ArnEquals"),
    ],
)
def test_no_other_comparison_stands_for_equality(operator: str) -> None:
    value = "false" if operator == "Null" else PCR
    found = rules(allow(Condition=condition(operator, value)))
    assert found.pop("loose-condition") is ERROR
    assert found.pop("no-image") is ERROR
    assert set(found) <= {"malformed-pcr"}


@pytest.mark.parametrize("operator", ["StringEqualsIfExists", "StringLike", "Null"])
def test_a_loose_one_beside_a_good_one_is_still_a_fault(operator: str) -> None:
    loose = condition(operator, "x", "kms:ViaService")
    assert rules(allow(Condition=MEASURED | loose)) == {"loose-condition": ERROR}


# values


@pytest.mark.attack(3)
@pytest.mark.parametrize("key", ["PCR0", "ImageSha384"])
def test_a_zero_image_is_any_debug_enclave(key: str) -> None:
    zero = condition("StringEquals", [PCR, "0" * 96], f"{KEY}{key}")
    assert rules(allow(Condition=zero)) == {"zero-pcr": ERROR}


@pytest.mark.parametrize("value", ["*", "ab" * 32, PCR + "0", "${aws:x}", "g" * 96])
def test_a_measurement_is_96_digits(value: str) -> None:
    assert rules(allow(Condition=condition("StringEquals", value))) == {"malformed-pcr": ERROR}


# who


@pytest.mark.parametrize("root", [ROOT, ACCOUNT, f"arn:aws-cn:iam::{ACCOUNT}:root"])
def test_an_account_s_root_delegates_to_its_iam(root: str) -> None:
    assert rules(allow(Principal={"AWS": root})) == {"root-delegation": ERROR}


def test_a_root_that_may_only_change_the_policy_is_delegation_too() -> None:
    assert rules(administer(ROOT)) == {"root-delegation": ERROR}


def test_a_root_that_may_only_look_is_fine() -> None:
    assert rules(administer(ROOT, Action="kms:DescribeKey")) == {}


@pytest.mark.parametrize("everyone", ["*", {"AWS": "*"}, {"AWS": [PARENT, "*"]}])
def test_everyone_with_the_image_is_warned_of(everyone: object) -> None:
    assert rules(allow(Principal=everyone)) == {"anyone": WARNING}


def test_everyone_without_the_image_is_an_error() -> None:
    found = rules(allow(Principal="*", Condition=None))
    assert found == {"anyone": WARNING, "no-image": ERROR}


def test_everyone_but_some_is_an_error() -> None:
    found = rules(allow(Principal=None, NotPrincipal={"AWS": ADMIN}))
    assert found == {"not-principal": ERROR}


def test_every_action_but_some_opens_the_key() -> None:
    found = rules(allow(Action=None, NotAction=["kms:PutKeyPolicy", "kms:Create*", "kms:Rep*"]))
    assert found == {"not-action": ERROR}


def test_every_action_but_those_that_open_is_fine() -> None:
    not_action = ["kms:Decrypt", "kms:ReEncrypt*", "kms:Derive*", "kms:Generate*"]
    found = rules(administer(Action=None) | {"NotAction": not_action})
    assert found == {}
