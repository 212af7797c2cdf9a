"""A file is whole under its name, or not there."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from bench import files


def test_new_content_in_one_step(tmp_path: Path) -> None:
    path = tmp_path / "folder" / "file"
    files.replace(path, b"old")
    files.replace(path, b"new")
    assert path.read_bytes() == b"new"
    assert [entry.name for entry in path.parent.iterdir()] == ["file"]


def test_a_failure_leaves_the_old_content_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "file"
    files.replace(path, b"old")
    with pytest.raises(KeyboardInterrupt), files.replacing(path) as file:
        file.write(b"half of the new")
        raise KeyboardInterrupt
    assert path.read_bytes() == b"old"
    assert [entry.name for entry in tmp_path.iterdir()] == ["file"]


def test_a_secret_is_its_owners_from_the_first_byte(tmp_path: Path) -> None:
    mask = os.umask(0)
    try:
        with files.replacing(tmp_path / "key", secret=True):
            (part,) = tmp_path.iterdir()
            assert part.stat().st_mode & 0o777 == 0o600
        assert (tmp_path / "key").stat().st_mode & 0o777 == 0o600
    finally:
        os.umask(mask)
