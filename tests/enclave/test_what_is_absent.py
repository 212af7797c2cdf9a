"""What the measured code does not do, read from its source; each absence is a promise."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from dataclasses import fields
from pathlib import Path

import pytest

from enclave.wire.batch import Statement
from enclave.wire.receipt import Receipt

ENCLAVE = Path(__file__).parents[2] / "enclave"
SPEC = ENCLAVE / "wire" / "SPEC.md"
SOURCES = sorted(ENCLAVE.rglob("*.py"))
RUNS_CODE = {"pickle", "cPickle", "marshal", "shelve", "dill", "joblib", "runpy", "code"}
PRINTS = {"logging", "syslog", "warnings"}
SAYS_WHERE = {"serve.py"}  # an exception's kind and place; test_serve.py reads it


def imports(tree: ast.Module) -> Iterator[str]:
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module:
            yield node.module.split(".")[0]


def names(tree: ast.Module) -> set[str]:
    """Every name and attribute that is mentioned."""
    plain = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    return plain | {node.attr for node in ast.walk(tree) if isinstance(node, ast.Attribute)}


def test_there_is_something_to_read() -> None:
    assert len(SOURCES) > 30
    assert "json" in imports(ast.parse("import json.decoder"))
    assert {"torch", "load"} <= names(ast.parse("torch.load(file)"))


def read(path: Path) -> ast.Module:
    return ast.parse(path.read_text())


@pytest.mark.attack(47)
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ENCLAVE)))
def test_no_file_is_run_as_code(path: Path) -> None:
    tree = read(path)
    assert not RUNS_CODE & set(imports(tree))
    builtins = {node.id for node in ast.walk(tree) if isinstance(node, ast.Name)}
    assert not {"eval", "exec", "compile", "__import__"} & builtins
    calls = {ast.unparse(node.func) for node in ast.walk(tree) if isinstance(node, ast.Call)}
    assert not {"torch.load", "numpy.load", "np.load", "torch.jit.load"} & calls


@pytest.mark.attack(46)
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ENCLAVE)))
def test_nothing_is_logged(path: Path) -> None:
    tree = read(path)
    assert not PRINTS & set(imports(tree))
    found = {"print", "stdout", "breakpoint"} & names(tree)
    assert found == ({"print"} if path.name in SAYS_WHERE else set())


@pytest.mark.attack(22)
@pytest.mark.parametrize("path", SOURCES, ids=lambda path: str(path.relative_to(ENCLAVE)))
def test_no_peers_address_is_looked_at(path: Path) -> None:
    tree = read(path)
    assert not {"getpeername", "SO_PEERCRED", "recvfrom"} & names(tree)
    for node in ast.walk(tree):
        if isinstance(node, ast.Assign) and ast.unparse(node.value).endswith(".accept()"):
            *_, address = ast.unparse(node.targets[0]).strip("()").split(", ")
            assert address == "_", "the address of a peer is given a name"


@pytest.mark.attack(48)
def test_nothing_claims_that_memory_was_wiped() -> None:
    claims = {field.name for kind in (Receipt, Statement) for field in fields(kind)}
    said = [name for name in claims if any(word in name for word in ("destr", "wipe", "zero"))]
    assert said == []
    assert "No zeroization" in SPEC.read_text()
