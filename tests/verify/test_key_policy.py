"""Key policies that let others in: one fault each, and the rule that finds it."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.emulators import estate, keyring
from bench.verify.key_policy import OPENS, Finding, Severity, lint, require
from bench.verify.policy_statements import MAX_BYTES
from enclave.wire.errors import VerificationError

ACCOUNT = "111122223333"
PARENT = f"arn:aws:iam::{ACCOUNT}:role/parent"
ADMIN = f"arn:aws:iam::{ACCOUNT}:role/admin"
OWNER = f"arn:aws:iam::{ACCOUNT}:role/owner"
ROOT = f"arn:aws:iam::{ACCOUNT}:root"
PCR = "ab" * 48
KEY = "kms:RecipientAttestation:"
MEASURED = {"StringEqualsIgnoreCase": {f"{KEY}PCR0": PCR}}
ERROR, WARNING, ALLOWED = Severity.ERROR, Severity.WARNING, Severity.ALLOWED


def allow(sid: str = "s", /, **changes: Any) -> dict[str, Any]:
    """A statement under which the measured image alone decrypts; None takes an element away."""
    statement = {
        "Sid": sid,
        "Effect": "Allow",
        "Principal": {"AWS": PARENT},
        "Action": "kms:Decrypt",
        "Resource": "*",
        "Condition": MEASURED,
    }
    return {name: value for name, value in (statement | changes).items() if value is not None}


def administer(principal: str = ADMIN, **changes: Any) -> dict[str, Any]:
    action = changes.pop("Action", ["kms:PutKeyPolicy", "kms:DescribeKey"])
    return allow("admin", Principal={"AWS": principal}, Action=action, Condition=None, **changes)


def text(*statements: dict[str, Any]) -> str:
    return json.dumps({"Version": "2012-10-17", "Statement": list(statements)})


def rules(*statements: dict[str, Any], sealers: tuple[str, ...] = ()) -> dict[str, Severity]:
    """What is found, by rule."""
    return {finding.rule: finding.severity for finding in lint(text(*statements), sealers=sealers)}


def condition(operator: str, value: object = PCR, key: str = f"{KEY}PCR0") -> dict[str, Any]:
    return {operator: {key: value}}


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


# what cannot be read


@pytest.mark.parametrize(
    ("policy", "found"),
    [
        ("", "Expecting value"),
        ("[]", "no map of Version"),
        ("{}", "no map"),
        ('{"Statement": []}', "no statement"),
        ('{"Statement": [], "Statement": []}', "the name 'Statement' stands twice"),
        (text(allow()).replace('"PCR0"', '"x"')[:-2], "delimiter"),
        (json.dumps({"Statement": [allow()], "Statements": []}), "no map of Version"),
        (text(allow(Conditions=MEASURED)), "element 'Conditions'"),
        (text(allow(Effect="allow")), "an effect that is neither"),
        (text(allow(Principal=None)), "both or neither of Principal and NotPrincipal"),
        (text(allow(NotAction="kms:*")), "both or neither of Action and NotAction"),
        (text(allow(Principal={})), "a principal that is neither"),
        (text(allow(Principal="role")), "a principal that is neither"),
        (text(allow(Action=[])), "Action is no text"),
        (text(allow(Action=[{}])), "Action is no text"),
        (text(allow(Condition=[])), "a condition that is no map"),
        (text(allow(Condition={"StringEquals": {}})), "condition StringEquals without keys"),
        ("[" * 100_000, "more than 32768 bytes"),
        ("[" * 32_000, "recursion"),
        (" " * (MAX_BYTES + 1), "more than 32768 bytes"),
    ],
)
def test_what_cannot_be_read_is_one_error(policy: str, found: str) -> None:
    (finding,) = lint(policy)
    assert (finding.rule, finding.severity) == ("unreadable", ERROR)
    assert found in finding.found, finding.found


def test_a_condition_key_that_stands_twice_is_refused() -> None:
    twice = text(allow()).replace(f'"{KEY}PCR0"', f'"{KEY}PCR0": "{"0" * 96}", "{KEY}PCR0"')
    (finding,) = lint(twice)
    assert "stands twice" in finding.found


def test_many_wildcards_take_no_time() -> None:
    before = time.process_time()
    assert lint(text(allow(Action="kms:" + "*a" * 10_000))) == ()
    assert time.process_time() - before < 1


@given(
    st.recursive(
        st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
        lambda inner: (
            st.lists(inner, max_size=3)
            | st.dictionaries(
                st.sampled_from(
                    ["Statement", "Effect", "Principal", "Action", "Condition", "AWS", "x"]
                ),
                inner,
                max_size=5,
            )
        ),
        max_leaves=12,
    )
)
def test_anything_in_json_gives_findings_and_no_crash(value: object) -> None:
    for policy in (
        json.dumps(value),
        json.dumps({"Statement": value}),
        text(allow(Condition=value)),
    ):
        assert all(isinstance(finding, Finding) for finding in lint(policy))


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
