"""Sources: which files a rule depends on, read from the code without running it."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench.image.build import read_folder
from bench.sources import closure, files, folder
from bench.tables import ConfigError

ROOT = Path(__file__).parents[1]


def write(root: Path, **texts: str) -> None:
    """Files by dotted name, `bench.a` as bench/a.py."""
    for name, text in texts.items():
        path = root / f"{name.replace('__', '/')}.py"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)


def test_imports_are_followed_wherever_they_stand(tmp_path: Path) -> None:
    write(
        tmp_path,
        scripts__run="from bench import a\n",
        bench__a="def f():\n    import bench.b\n",
        bench__b="import json\nfrom enclave.wire.c import thing\n",
        enclave__wire__c="thing = 1\n",
        bench__unused="",
    )
    assert closure("scripts/run.py", root=tmp_path) == [
        "bench/a.py",
        "bench/b.py",
        "enclave/wire/c.py",
        "scripts/run.py",
    ]


def test_packages_on_the_way_count(tmp_path: Path) -> None:
    write(tmp_path, bench__x__y="", bench__x__z="")
    for name in ("bench/__init__.py", "bench/x/__init__.py"):
        (tmp_path / name).touch()
    found = closure("bench.x.y", root=tmp_path)
    assert found == ["bench/__init__.py", "bench/x/__init__.py", "bench/x/y.py"]


def test_a_module_started_by_name_counts(tmp_path: Path) -> None:
    write(
        tmp_path,
        bench__start='argv = ["python", "-m", "bench.server", "not.bench.other"]\n',
        bench__server="import bench.deep\n",
        bench__deep="",
        bench__other="",
    )
    found = closure("bench.start", root=tmp_path)
    assert found == ["bench/deep.py", "bench/server.py", "bench/start.py"]


def test_a_package_is_imported_without_its_command(tmp_path: Path) -> None:
    write(tmp_path, bench__deep="")
    (tmp_path / "bench" / "x").mkdir()
    (tmp_path / "bench" / "x" / "__init__.py").touch()
    (tmp_path / "bench" / "x" / "__main__.py").write_text("import bench.deep\n")
    write(tmp_path, bench__user="import bench.x\n", bench__start='argv = ["-m", "bench.x"]\n')
    assert closure("bench.user", root=tmp_path) == ["bench/user.py", "bench/x/__init__.py"]
    started = closure("bench.start", root=tmp_path)
    assert {"bench/deep.py", "bench/x/__main__.py"} <= set(started)


def test_modules_that_import_each_other_end(tmp_path: Path) -> None:
    write(tmp_path, bench__a="import bench.b\n", bench__b="import bench.a\n")
    assert closure("bench.a", root=tmp_path) == ["bench/a.py", "bench/b.py"]


def test_a_relative_import_is_refused(tmp_path: Path) -> None:
    write(tmp_path, bench__a="\nfrom . import b\n")
    with pytest.raises(ConfigError, match="line 2, field import: found 'a relative import'"):
        closure("bench.a", root=tmp_path)


@pytest.mark.parametrize("entry", ["bench.absent", "scripts/absent.py", "json"])
def test_an_entry_that_is_not_there_is_refused(tmp_path: Path, entry: str) -> None:
    with pytest.raises(ConfigError, match="found 'no such file'"):
        closure(entry, root=tmp_path)


def test_a_folder_is_what_an_image_holds(tmp_path: Path) -> None:
    kept = ["enclave/a.py", "enclave/requirements.lock", "enclave/wire/b.py"]
    left_out = ("README.md", "Dockerfile", "x.part", ".hidden", "__pycache__/a.pyc", ".git/b.py")
    for name in (*kept, *(f"enclave/{name}" for name in left_out)):
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
    assert folder("enclave", root=tmp_path) == kept
    read_whole = ["enclave/Dockerfile", "enclave/README.md", *kept]
    assert files("enclave", root=tmp_path) == sorted(read_whole)


def test_the_image_builder_takes_the_files_that_decide_a_rebuild() -> None:
    boot, application = read_folder(ROOT / "enclave")
    listed = folder("enclave", root=ROOT)
    assert len(boot) + len(application) == len(listed)
    assert {file.path for file in application} <= set(listed)
