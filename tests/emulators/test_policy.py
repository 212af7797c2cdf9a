"""Key policies: what they allow, what they deny, and that nothing unknown is let through."""

from __future__ import annotations

import json
from typing import Any

import pytest

from bench.emulators.policy import Decision, PolicyError, Request, parse

OWNER = "arn:aws:iam::000000000000:role/owner"
ENCLAVE = "arn:aws:iam::000000000000:role/enclave-instance"
KEY = "arn:aws:kms:local-1:000000000000:key/1"
PCR0 = "kms:RecipientAttestation:PCR0"
IMAGE = "kms:RecipientAttestation:ImageSha384"


def statement(**changes: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow",
        "Principal": {"AWS": ENCLAVE},
        "Action": "kms:Decrypt",
        "Resource": "*",
    } | changes


def decide(
    *statements: dict[str, Any],
    principal: str = ENCLAVE,
    action: str = "kms:Decrypt",
    resource: str = KEY,
    **facts: str,
) -> Decision:
    policy = parse(json.dumps({"Version": "2012-10-17", "Statement": list(statements)}))
    return policy.decide(Request(principal, action, resource, facts))


def test_named_principal_is_allowed_its_action() -> None:
    assert decide(statement()) is Decision.ALLOW


@pytest.mark.parametrize(
    "request_",
    [
        {"principal": OWNER},
        {"principal": ENCLAVE + "-2"},
        {"action": "kms:DecryptAll"},
        {"action": "kms:Encrypt"},
    ],
)
def test_what_no_statement_names_is_denied(request_: dict[str, str]) -> None:
    assert decide(statement(), **request_) is Decision.DEFAULT_DENY


@pytest.mark.parametrize(
    ("pattern", "action", "decision"),
    [
        ("kms:*", "kms:Decrypt", Decision.ALLOW),
        ("kms:generatedatakey*", "kms:GenerateDataKeyPair", Decision.ALLOW),
        ("kms:GenerateDataKey*", "kms:GenerateRandom", Decision.DEFAULT_DENY),
        ("kms:De????t", "kms:Decrypt", Decision.ALLOW),
        ("kms:De???t", "kms:Decrypt", Decision.DEFAULT_DENY),
        ("kms:[D]ecrypt", "kms:Decrypt", Decision.DEFAULT_DENY),
        ("kms.*", "kms:Decrypt", Decision.DEFAULT_DENY),
    ],
)
def test_action_patterns(pattern: str, action: str, decision: Decision) -> None:
    assert decide(statement(Action=pattern), action=action) is decision


def test_lists_match_by_any_of_their_members() -> None:
    both = statement(Principal={"AWS": [OWNER, ENCLAVE]}, Action=["kms:Encrypt", "kms:Decrypt"])
    assert decide(both) is Decision.ALLOW


def test_any_principal() -> None:
    assert decide(statement(Principal="*"), principal="whoever") is Decision.ALLOW
    assert decide(statement(Principal={"AWS": "*"}), principal="whoever") is Decision.ALLOW


def test_account_root_delegates_to_nobody() -> None:
    root = statement(Principal={"AWS": "arn:aws:iam::000000000000:root"}, Action="kms:*")
    assert decide(root) is Decision.DEFAULT_DENY


def test_resource_has_to_match() -> None:
    assert decide(statement(Resource=KEY)) is Decision.ALLOW
    assert decide(statement(Resource=KEY + "0")) is Decision.DEFAULT_DENY


def test_explicit_deny_wins_wherever_it_stands() -> None:
    deny = statement(Effect="Deny", Action="kms:*")
    assert decide(statement(), deny) is Decision.EXPLICIT_DENY
    assert decide(deny, statement()) is Decision.EXPLICIT_DENY


def test_pcr_condition_needs_the_measurement() -> None:
    guarded = statement(Condition={"StringEqualsIgnoreCase": {PCR0: "AB" * 48}})
    assert decide(guarded, **{PCR0: "ab" * 48}) is Decision.ALLOW
    assert decide(guarded, **{PCR0: "ac" * 48}) is Decision.DEFAULT_DENY
    assert decide(guarded, **{IMAGE: "ab" * 48}) is Decision.DEFAULT_DENY
    assert decide(guarded) is Decision.DEFAULT_DENY


def test_string_equals_keeps_case_apart() -> None:
    guarded = statement(Condition={"StringEquals": {PCR0: "AB" * 48}})
    assert decide(guarded, **{PCR0: "AB" * 48}) is Decision.ALLOW
    assert decide(guarded, **{PCR0: "ab" * 48}) is Decision.DEFAULT_DENY


def test_every_condition_has_to_be_met_and_one_value_of_each() -> None:
    guarded = statement(
        Condition={
            "StringEqualsIgnoreCase": {PCR0: ["aa", "bb"], "kms:RecipientAttestation:PCR1": "cc"},
            "StringEquals": {"kms:EncryptionContext:model": "minilm"},
        }
    )
    facts = {
        PCR0: "bb",
        "kms:RecipientAttestation:PCR1": "cc",
        "kms:EncryptionContext:model": "minilm",
    }
    assert decide(guarded, **facts) is Decision.ALLOW
    for name in facts:
        assert decide(guarded, **facts | {name: "dd"}) is Decision.DEFAULT_DENY
        without = {other: value for other, value in facts.items() if other != name}
        assert decide(guarded, **without) is Decision.DEFAULT_DENY


@pytest.mark.parametrize(
    "broken",
    [
        pytest.param(statement(NotAction="kms:Encrypt"), id="unknown element"),
        pytest.param(statement(Effect="allow"), id="unknown effect"),
        pytest.param(statement(Principal={"Service": "ec2.amazonaws.com"}), id="other principal"),
        pytest.param(statement(Principal=ENCLAVE), id="principal without its type"),
        pytest.param(statement(Principal={"AWS": []}), id="no principal"),
        pytest.param(statement(Action=None), id="no action"),
        pytest.param(statement(Action=[]), id="empty actions"),
        pytest.param(statement(Action=7), id="action of another type"),
        pytest.param(statement(Resource=None), id="no resource"),
        pytest.param(statement(Resource="${aws:PrincipalArn}"), id="policy variable"),
        pytest.param(statement(Condition={}), id="empty condition"),
        pytest.param(statement(Condition={"StringLike": {PCR0: "*"}}), id="unknown operator"),
        pytest.param(statement(Condition={"StringEquals": {}}), id="operator without keys"),
        pytest.param(statement(Condition={"StringEquals": {PCR0: []}}), id="key without values"),
        pytest.param(
            statement(Condition={"StringEquals": {"aws:SourceIp": "1"}}), id="unknown key"
        ),
        pytest.param(
            statement(Condition={"StringEquals": {"kms:RecipientAttestation:PCR32": "1"}}),
            id="pcr out of range",
        ),
        pytest.param(
            statement(Condition={"StringEquals": {"kms:RecipientAttestation": "1"}}),
            id="attestation without a measurement",
        ),
    ],
)
@pytest.mark.parametrize("effect", ["Allow", "Deny"])
def test_policy_with_something_unknown_is_refused_whole(
    broken: dict[str, Any], effect: str
) -> None:
    if broken["Effect"] == "Allow":
        broken = broken | {"Effect": effect}
    with pytest.raises(PolicyError):
        decide(statement(), broken)


@pytest.mark.parametrize(
    "text",
    [
        "",
        "[]",
        "{",
        "[" * 100_000,
        '{"Version": "2012-10-17"}',
        '{"Version": "2012-10-17", "Statement": []}',
        '{"Version": "2008-10-17", "Statement": [' + json.dumps(statement()) + "]}",
        '{"Version": "2012-10-17", "Other": 1, "Statement": [' + json.dumps(statement()) + "]}",
        '{"Version": "2012-10-17", "Version": "2012-10-17", "Statement": ['
        + json.dumps(statement())
        + "]}",
    ],
)
def test_malformed_document_is_refused(text: str) -> None:
    with pytest.raises(PolicyError):
        parse(text)
