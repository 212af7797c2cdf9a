"""Locks: what is installed is pinned by hash, from wherever it comes, and agrees with itself."""

from __future__ import annotations

import re
import tomllib
from pathlib import Path

import pytest
import yaml

ROOT = Path(__file__).parents[1]
ENVS = ROOT / "envs"
LOCKS = sorted(ENVS.glob("*.lock"))
ENCLAVE_LOCK = ROOT / "enclave" / "requirements.lock"
PIN = re.compile(
    r"^([a-z0-9][a-z0-9._-]*)==([^ \\]+)(?: ; [^\\]+)? \\\n((?: +--hash=.*\n?)+)", re.MULTILINE
)


def pins(path: Path) -> dict[str, tuple[str, frozenset[str]]]:
    found = {}
    for name, version, hashes in PIN.findall(path.read_text()):
        found[name] = (version, frozenset(re.findall(r"sha256:([0-9a-f]{64})", hashes)))
    return found


@pytest.mark.parametrize("path", [*LOCKS, ENCLAVE_LOCK], ids=lambda path: path.name)
def test_a_lock_pins_by_hash_and_names_no_place(path: Path) -> None:
    text = path.read_text()
    lines = [line for line in text.splitlines() if line and not line.startswith(("#", " "))]
    assert len(lines) == len(pins(path)) > 0
    assert all(hashes for _, hashes in pins(path).values())
    assert not re.search(r"://|file:|--index|--find-links|^-", text, re.MULTILINE)


def test_locks_agree_with_one_another() -> None:
    agreed: dict[str, tuple[str, frozenset[str]]] = {}
    for path in LOCKS:
        for name, pin in pins(path).items():
            if not path.name.startswith("torch-") or name != "torch":
                assert agreed.setdefault(name, pin) == pin, f"{name} in {path.name}"


def test_what_runs_inside_is_among_what_measures() -> None:
    measuring = pins(ENVS / "measure.lock") | pins(ENVS / "torch-cpu.lock")
    assert pins(ENCLAVE_LOCK).items() <= measuring.items()
    assert pins(ENCLAVE_LOCK)["torch"] == pins(ENVS / "torch-cpu.lock")["torch"]


def test_torch_is_locked_for_every_python() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert project["requires-python"] == ">=3.11,<3.14"
    assert len(pins(ENVS / "torch-cpu.lock")["torch"][1]) == 3
    assert pins(ENVS / "torch-default.lock")["torch"][0] == "2.13.0"


@pytest.mark.parametrize("name", ["image", "measure", "analysis", "report"])
def test_conda_files_hold_the_locked_versions(name: str) -> None:
    dependencies = yaml.safe_load((ENVS / f"{name}.yaml").read_text())["dependencies"]
    listed = dependencies[-1]["pip"]
    found = {line.partition(" ;")[0] for line in listed if line[0] != "-"}
    locked = {f"{pin}=={version}" for pin, (version, _) in pins(ENVS / f"{name}.lock").items()}
    assert found - {"torch==2.13.0+cpu"} == locked
