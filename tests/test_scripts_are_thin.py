"""Scripts unpack `snakemake` and call one thing: logic there can be neither imported nor tested."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]
SCRIPTS = sorted((ROOT / "scripts").glob("*.py"))
RULE = re.compile(r"^rule (\w+):", re.MULTILINE)
SCRIPT = re.compile(r'"\.\./scripts/(\w+)\.py"')
LINES = 25
BRANCHING = (
    *(ast.If, ast.While, ast.Try, ast.FunctionDef, ast.AsyncFunctionDef, ast.ClassDef, ast.Lambda),
)


@pytest.mark.parametrize("path", SCRIPTS, ids=lambda path: path.stem)
def test_a_script_is_short_and_decides_nothing(path: Path) -> None:
    text = path.read_text()
    body = ast.parse(text).body
    assert ast.get_docstring(ast.parse(text)), "says what the step makes"
    lines = [line for line in text.splitlines() if line.strip()]
    assert len(lines) <= LINES
    decisions = [node for part in body for node in ast.walk(part) if isinstance(node, BRANCHING)]
    assert decisions == []


def test_every_script_is_named_like_its_rule() -> None:
    named = {}
    for path in (ROOT / "rules").glob("*.smk"):
        text = path.read_text()
        named |= dict(zip(RULE.findall(text), SCRIPT.findall(text), strict=True))
    assert {rule: rule for rule in named} == named
    assert set(named) == {path.stem for path in SCRIPTS}


def test_no_rule_has_code_of_its_own() -> None:
    """Snakemake would see changes in it only by the trigger that is switched off."""
    for path in [ROOT / "Snakefile", *(ROOT / "rules").glob("*.smk")]:
        assert not re.search(r"^\s+(shell|run|notebook|wrapper):", path.read_text(), re.MULTILINE)


def test_the_object_of_snakemake_stays_in_scripts() -> None:
    for package in ("bench", "enclave"):
        for path in (ROOT / package).rglob("*.py"):
            names = {
                node.id
                for node in ast.walk(ast.parse(path.read_text()))
                if isinstance(node, ast.Name)
            }
            assert "snakemake" not in names, path
