"""The steps that are printed are those of the verifiers, and every failure belongs to one."""

from __future__ import annotations

import ast
import re
from pathlib import Path
from typing import Any

import pytest

from bench.analysis import evidence
from bench.verify import chain, confidential_space, document, nitro, sessions, steps
from bench.verify import evidence as session
from enclave.wire import batch, manifest, receipt


def numbered(text: str | None) -> int:
    """How many steps a docstring numbers."""
    return len(re.findall(r"^\s*[0-9]+\. ", text or "", re.MULTILINE))


@pytest.mark.parametrize(
    ("procedure", "documented"),
    [
        (steps.AUTHENTIC, nitro.authenticate),
        (steps.ACCEPTABLE, nitro.accept),
        (steps.RECEIPT, receipt.verify),
        (steps.MANIFEST, manifest.verify_manifest),
        (steps.EVIDENCE, evidence),
        (steps.STATEMENT, batch.verify),
        (steps.TOKEN_PKI, confidential_space.authenticate_pki),
        (steps.TOKEN_OIDC, confidential_space.authenticate_oidc),
        (steps.TOKEN_ACCEPTABLE, confidential_space.accept),
    ],
    ids=lambda value: getattr(value, "name", ""),
)
def test_there_are_as_many_steps_as_the_verifier_numbers(
    procedure: steps.Procedure, documented: object
) -> None:
    assert len(procedure.steps) == numbered(documented.__doc__)


@pytest.mark.parametrize(
    ("modules", "procedures"),
    [
        ((nitro, chain, document), (steps.AUTHENTIC, steps.ACCEPTABLE)),
        ((manifest,), (steps.MANIFEST,)),
        ((evidence, session, sessions, batch, nitro, chain, document), (steps.EVIDENCE,)),
        ((batch,), (steps.STATEMENT,)),
        ((confidential_space,), (steps.TOKEN_PKI, steps.TOKEN_ACCEPTABLE)),
    ],
    ids=["document", "manifest", "evidence", "statement", "token"],
)
def test_every_failure_of_a_verifier_has_a_number(modules: Any, procedures: Any) -> None:
    names = {name for module in modules for name in raised(Path(module.__file__))}
    assert names
    assert {name for name in names if not any(p.number(name) for p in procedures)} == set()


def raised(path: Path) -> set[str]:
    """Literal step names that a module raises, by whichever of its own helpers."""
    calls = ("VerificationError", "_error", "_same", "_check_bound", "_check_equal", "_refuse")
    found = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.args:
            first = node.args[0]
            if node.func.id in calls and isinstance(first, ast.Constant):
                prefix = "field " if node.func.id == "_refuse" else ""
                found.add(f"{prefix}{first.value}")
            if node.func.id in calls and isinstance(first, ast.JoinedStr):
                found.add("".join(str(getattr(p, "value", "0")) for p in first.values[:1]) + "0")
    return found


def test_a_failure_without_a_number_would_be_seen() -> None:
    assert steps.AUTHENTIC.number("no such step") == 0
