"""Key policies: the part of AWS's policy language that decides who may use an emulated KMS key.

Rule of the file: fail closed. A policy is parsed whole before any of it counts, and an element,
operator or condition key that is not known here refuses the policy instead of being skipped.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from enum import Enum

VERSION = "2012-10-17"
MAX_POLICY_BYTES = 32768  # limit of PutKeyPolicy
OPERATORS = {"StringEquals": False, "StringEqualsIgnoreCase": True}  # operator: case is ignored
CONDITION_KEY = re.compile(
    r"kms:RecipientAttestation:(ImageSha384|PCR([0-9]|[12][0-9]|3[01]))|kms:EncryptionContext:.+"
)
STATEMENT_ELEMENTS = {"Sid", "Effect", "Principal", "Action", "Resource", "Condition"}


class PolicyError(ValueError):
    """A key policy is malformed or uses what this emulator does not know."""


class Decision(Enum):
    """What a policy says of one request."""

    ALLOW = "allow"
    EXPLICIT_DENY = "explicit deny"
    DEFAULT_DENY = "no statement allows it"


@dataclass(frozen=True, slots=True)
class Request:
    """One call, as a policy sees it. `facts` maps condition keys to values; absent is absent."""

    principal: str
    action: str
    resource: str
    facts: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Condition:
    """One condition key and the values of which one must match."""

    key: str
    ignore_case: bool
    values: tuple[str, ...]

    def met(self, facts: Mapping[str, str]) -> bool:
        """A key that the request lacks meets no condition."""
        found = facts.get(self.key)
        if found is None:
            return False
        if self.ignore_case:
            return found.lower() in {value.lower() for value in self.values}
        return found in self.values


@dataclass(frozen=True, slots=True)
class Statement:
    """One Allow or Deny; every element must match for it to count."""

    allow: bool
    principals: tuple[str, ...]
    actions: tuple[str, ...]
    resources: tuple[str, ...]
    conditions: tuple[Condition, ...]

    def matches(self, request: Request) -> bool:
        return (
            any(name in ("*", request.principal) for name in self.principals)
            and any(_matches(action.lower(), request.action.lower()) for action in self.actions)
            and any(_matches(resource, request.resource) for resource in self.resources)
            and all(condition.met(request.facts) for condition in self.conditions)
        )


@dataclass(frozen=True, slots=True)
class Policy:
    """A parsed key policy."""

    statements: tuple[Statement, ...]

    def decide(self, request: Request) -> Decision:
        """An explicit Deny wins; what no statement allows is denied."""
        matching = [statement for statement in self.statements if statement.matches(request)]
        if any(not statement.allow for statement in matching):
            return Decision.EXPLICIT_DENY
        return Decision.ALLOW if matching else Decision.DEFAULT_DENY


def parse(text: str) -> Policy:
    """Read a key policy document (JSON); PolicyError for anything not known here.

    The account's root principal is an ordinary name: there is no IAM here to delegate to.
    """
    if len(text.encode()) > MAX_POLICY_BYTES:
        raise PolicyError(f"policy is longer than {MAX_POLICY_BYTES} bytes")
    try:
        document = json.loads(text, object_pairs_hook=_unique)
    except (json.JSONDecodeError, RecursionError) as error:
        raise PolicyError(f"policy is not json: {error}") from None
    if not isinstance(document, dict) or not set(document) <= {"Version", "Id", "Statement"}:
        raise PolicyError("policy is not a map of Version, Id and Statement")
    if document.get("Version") != VERSION:
        raise PolicyError(f"policy version {document.get('Version')!r} is not {VERSION}")
    statements = document.get("Statement")
    if isinstance(statements, dict):
        statements = [statements]
    if not isinstance(statements, list) or not statements:
        raise PolicyError("policy has no statements")
    return Policy(tuple(_statement(statement) for statement in statements))


def _statement(value: object) -> Statement:
    if not isinstance(value, dict) or not set(value) <= STATEMENT_ELEMENTS:
        raise PolicyError(f"statement has elements other than {sorted(STATEMENT_ELEMENTS)}")
    if value.get("Effect") not in ("Allow", "Deny"):
        raise PolicyError(f"effect {value.get('Effect')!r} is neither Allow nor Deny")
    principal = value.get("Principal")
    if isinstance(principal, dict):
        if set(principal) != {"AWS"}:
            raise PolicyError(f"principal {principal!r} is not of type AWS")
        principal = principal["AWS"]
    elif principal != "*":
        raise PolicyError(f"principal {principal!r} is neither * nor a map")
    conditions = value.get("Condition", {})
    if not isinstance(conditions, dict) or (not conditions and "Condition" in value):
        raise PolicyError("condition is not a map of operators")
    return Statement(
        allow=value["Effect"] == "Allow",
        principals=_texts("Principal", principal),
        actions=_texts("Action", value.get("Action")),
        resources=_texts("Resource", value.get("Resource")),
        conditions=tuple(_conditions(conditions)),
    )


def _conditions(operators: Mapping[str, object]) -> Iterable[Condition]:
    for operator, keys in operators.items():
        if operator not in OPERATORS:
            raise PolicyError(f"condition operator {operator!r} is not known here")
        if not isinstance(keys, dict) or not keys:
            raise PolicyError(f"condition {operator} has no keys")
        for key, values in keys.items():
            if not CONDITION_KEY.fullmatch(key):
                raise PolicyError(f"condition key {key!r} is not known here")
            yield Condition(key, OPERATORS[operator], _texts(key, values))


def _texts(name: str, value: object) -> tuple[str, ...]:
    """One text or a list of them. `${` would be a policy variable, which is not known here."""
    values = value if isinstance(value, list) else [value]
    if not values or not all(
        isinstance(text, str) and text and "${" not in text for text in values
    ):
        raise PolicyError(f"{name} is not a text or a list of texts")
    return tuple(values)


def _unique(pairs: list[tuple[str, object]]) -> dict[str, object]:
    names = [name for name, _ in pairs]
    if len(set(names)) != len(names):
        raise PolicyError("policy repeats an element")
    return dict(pairs)


def _matches(pattern: str, text: str) -> bool:
    """`*` stands for any characters, `?` for one."""
    expression = re.escape(pattern).replace(r"\*", ".*").replace(r"\?", ".")
    return re.fullmatch(expression, text, re.DOTALL) is not None
