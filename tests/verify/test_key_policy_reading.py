"""Key policies that cannot be read, and anything else that JSON can say."""

from __future__ import annotations

import json
import time

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.verify.key_policy import Finding, lint
from bench.verify.policy_statements import MAX_BYTES
from tests.verify.key_policies import ERROR, KEY, MEASURED, allow, text


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
