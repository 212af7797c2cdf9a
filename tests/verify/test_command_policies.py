"""`python -m bench.verify`: key policies."""

from __future__ import annotations

import json
from pathlib import Path

from tests.verify.command import run


def test_a_key_policy_that_lets_others_in_is_not_acceptable(folder: Path) -> None:
    statement = {"Sid": "Root", "Effect": "Allow", "Action": "kms:Decrypt", "Resource": "*"}
    statement["Principal"] = {"AWS": "arn:aws:iam::111122223333:role/someone"}  # type: ignore[assignment]
    (folder / "policy.json").write_text(json.dumps({"Statement": [statement]}))
    code, out, err = run("policy.json")
    assert (code, out[-1]) == (3, "  not acceptable")
    assert "no-image: found arn:aws:iam::111122223333:role/someone may kms:Decrypt" in err[0]


def test_a_key_policy_with_a_repeated_name_is_unreadable(folder: Path) -> None:
    (folder / "policy.json").write_text('{"Statement": [], "Statement": []}')
    code, _, err = run("policy.json")
    assert code == 4
    assert "the name 'Statement' stands twice in one object" in err[0]
