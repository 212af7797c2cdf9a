"""Files to judge, honest, and a copy of them to tamper with."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from tests.verify import exhibits


@pytest.fixture(scope="session")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """All kinds of files, honest."""
    folder = tmp_path_factory.mktemp("exhibits")
    exhibits.make(folder)
    return folder


@pytest.fixture
def folder(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of them to tamper with, and the place where commands run."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
