"""Statements of a key policy, and what the linter finds in them."""

from __future__ import annotations

import json
from typing import Any

from bench.verify.key_policy import Severity, lint

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
