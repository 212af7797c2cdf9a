"""Key policies as AWS reads them: their Allow statements, and whom and what each of them covers.

Strict about form (a repeated name, an unknown element: nothing is guessed) and complete about the
language: NotPrincipal, NotAction, wildcards and every operator are read, to be judged elsewhere.
"""

from __future__ import annotations

import fnmatch
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

MAX_BYTES = 32768  # limit of PutKeyPolicy

ROOT = re.compile(r"(arn:aws[a-z-]*:iam::)?([0-9]{12})(:root)?")
ACCOUNT = re.compile(r"arn:aws[a-z-]*:(?:iam|sts)::([0-9]{12}):.+")
ROLE = re.compile(r"arn:aws[a-z-]*:iam::([0-9]{12}):role/(?:.*/)?([^/]+)")
SESSION = re.compile(r"arn:aws[a-z-]*:sts::([0-9]{12}):assumed-role/([^/]+)/.+")

ELEMENTS = {
    *("Sid", "Effect", "Principal", "NotPrincipal", "Action", "NotAction"),
    *("Resource", "NotResource", "Condition"),
}


Conditions = tuple[tuple[str, str, tuple[str, ...]], ...]


class UnreadableError(ValueError):
    """A policy that is not read any further: statement, and what stands there."""

    def __init__(self, statement: str, found: str) -> None:
        super().__init__(found)
        self.statement = statement


@dataclass(frozen=True, slots=True)
class Statement:
    """One Allow as AWS reads it; condition keys in lower case, as (operator, key, values)."""

    name: str
    principals: tuple[str, ...]
    all_but_principals: bool
    actions: tuple[str, ...]
    all_but_actions: bool
    conditions: Conditions

    def allowed(self, among: Sequence[str]) -> list[str]:
        """Which of these actions it allows."""
        named = [action for action in among if any(_covers(p, action) for p in self.actions)]
        return [action for action in among if (action in named) is not self.all_but_actions]


def read(text: str) -> list[Statement]:
    """The Allow statements of a key policy (JSON); UnreadableError."""
    if len(text.encode(errors="replace")) > MAX_BYTES:
        raise UnreadableError("policy", f"more than {MAX_BYTES} bytes")
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except (ValueError, RecursionError) as error:
        raise UnreadableError("policy", str(error) or "nested too deeply") from None
    if not isinstance(document, dict) or not set(document) <= {"Version", "Id", "Statement"}:
        raise UnreadableError("policy", "no map of Version, Id and Statement")
    statements = document.get("Statement")
    rows = statements if isinstance(statements, list) else [statements]
    if not rows:
        raise UnreadableError("policy", "no statement")
    read = [_statement(row, number) for number, row in enumerate(rows, start=1)]
    return [statement for statement in read if statement is not None]


def _statement(row: object, number: int) -> Statement | None:
    """One Allow; None for a Deny, which is read all the same."""
    if not isinstance(row, dict):
        raise UnreadableError(str(number), "no map")
    sid = row.get("Sid", "")
    name = sid if isinstance(sid, str) and sid else str(number)
    if unknown := sorted(set(row) - ELEMENTS):
        raise UnreadableError(name, f"element {unknown[0][:40]!r}")
    if row.get("Effect") not in ("Allow", "Deny"):
        raise UnreadableError(name, "an effect that is neither Allow nor Deny")
    for one, other in (("Principal", "NotPrincipal"), ("Action", "NotAction")):
        if (one in row) == (other in row):
            raise UnreadableError(name, f"both or neither of {one} and {other}")
    principals = _principals(name, row.get("Principal", row.get("NotPrincipal")))
    actions = _texts(name, "Action", row.get("Action", row.get("NotAction")))
    statement = Statement(
        name=name,
        principals=principals,
        all_but_principals="NotPrincipal" in row,
        actions=actions,
        all_but_actions="NotAction" in row,
        conditions=tuple(_conditions(name, row.get("Condition", {}))),
    )
    return statement if row["Effect"] == "Allow" else None


def _principals(name: str, value: object) -> tuple[str, ...]:
    if value == "*":
        return ("*",)
    if not isinstance(value, dict) or not value:
        raise UnreadableError(name, "a principal that is neither * nor a map")
    return tuple(text for kind, who in value.items() for text in _texts(name, kind, who))


def _conditions(name: str, value: object) -> Iterator[tuple[str, str, tuple[str, ...]]]:
    if not isinstance(value, Mapping):
        raise UnreadableError(name, "a condition that is no map of operators")
    for operator, keys in value.items():
        if not isinstance(keys, Mapping) or not keys:
            raise UnreadableError(name, f"condition {operator[:40]} without keys")
        for key, values in keys.items():
            yield operator, key.lower(), _texts(name, key, values)


def _texts(name: str, element: str, value: object) -> tuple[str, ...]:
    values = value if isinstance(value, list) else [value]
    texts = [str(v).lower() if isinstance(v, bool | int | float) else v for v in values]
    read = tuple(text for text in texts if isinstance(text, str) and text)
    if not texts or len(read) != len(texts):
        raise UnreadableError(name, f"{element[:40]} is no text and no list of texts")
    return read


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    fields = dict(pairs)
    if len(fields) != len(pairs):
        names = [name for name, _ in pairs]
        twice = next(name for name in names if names.count(name) > 1)
        raise ValueError(f"the name {twice[:40]!r} stands twice in one object")
    return fields


def share(one: Statement, other: Statement) -> bool:
    """Whether one principal may come under both."""
    if one.all_but_principals or other.all_but_principals:
        return True
    return any(_same(a, b) for a in one.principals for b in other.principals)


def _same(one: str, other: str) -> bool:
    if one == other or "*" in (one, other):
        return True
    if _role(one) is not None and _role(one) == _role(other):
        return True
    accounts = [root_account(name) or _account(name) for name in (one, other)]
    return bool(root_account(one) or root_account(other)) and accounts[0] == accounts[1]


def root_account(principal: str) -> str:
    """The account that a principal stands for whole; empty if it is a role or user."""
    match = ROOT.fullmatch(principal)
    return match[2] if match and (match[1] is None) == (match[3] is None) else ""


def _account(principal: str) -> str:
    match = ACCOUNT.fullmatch(principal)
    return match[1] if match else ""


def _role(principal: str) -> tuple[str, str] | None:
    """(account, name) of a role, also of one that is assumed under a session's name."""
    match = ROLE.fullmatch(principal) or SESSION.fullmatch(principal)
    return (match[1], match[2]) if match else None


def _covers(pattern: str, action: str) -> bool:
    """`*` stands for any characters, `?` for one; case does not count in actions.

    fnmatch, because its expressions take linear time whatever the pattern.
    """
    expression = fnmatch.translate(pattern.lower().replace("[", "[[]"))
    return re.match(expression, action.lower()) is not None
