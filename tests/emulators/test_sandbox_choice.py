"""Which level of isolation is chosen, what each refuses to be asked, and who may use it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from bench.emulators import sandbox
from bench.emulators.sandbox import Level, Probe, SandboxError, choose, command
from tests.emulators.levels import CPUS, REPOSITORY, result_of

SYSTEM_PYTHON = Path("/usr/bin/python3")
# env: what setpriv starts itself may still look up paths with root's rights
NOBODY = ["setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "env"]


def test_a_cpu_that_is_not_ours_is_refused() -> None:
    with pytest.raises(SandboxError, match="cpus"):
        command(Level.PROCESS, ["true"], vcpus=[4095], memory_mib=None)
    with pytest.raises(SandboxError, match="cpus"):
        command(Level.PROCESS, ["true"], vcpus=[], memory_mib=None)


def test_bare_keeps_the_affinity_and_has_no_limit() -> None:
    argv = command(Level.PROCESS, ["server"], vcpus=CPUS[:1], memory_mib=None)
    assert [Path(word).name for word in argv] == [
        "taskset",
        "-c",
        str(CPUS[0]),
        "env",
        "-i",
        "server",
    ]


def test_a_path_that_namespaces_cannot_show_is_refused() -> None:
    for path in (Path("/dev/shm/image"), Path("/tmp/a b")):
        with pytest.raises(SandboxError, match="cannot be shown"):
            command(Level.NAMESPACES, ["x"], vcpus=CPUS, memory_mib=None, read_only=[path])


@pytest.mark.parametrize(
    ("level", "tool"),
    [
        (Level.BWRAP, ["bwrap", "--unshare-user", "--unshare-net", "--ro-bind", "/", "/"]),
        (Level.NAMESPACES, ["unshare", "--user", "--map-root-user", "-n", "-m", "-p", "--fork"]),
        (Level.PROCESS, ["prlimit", "--data=268435456"]),
    ],
)
def test_a_level_whose_tool_works_here_works(level: Level, tool: list[str]) -> None:
    """Or every other test of it would be skipped in silence."""
    if not shutil.which(tool[0]) or subprocess.run([*tool, "true"], capture_output=True).returncode:
        pytest.skip(f"{tool[0]} itself does not work on this machine")
    assert result_of(level) == Probe(level, works=True)


WORKS = [Probe(level, works=True) for level in Level]
NO_BWRAP = [Probe(Level.BWRAP, works=False, reason="no permission"), *WORKS[1:]]


def test_the_strongest_that_works_is_chosen() -> None:
    assert choose(None, WORKS) is Level.BWRAP
    assert choose(None, NO_BWRAP) is Level.NAMESPACES


def test_a_required_level_is_never_replaced() -> None:
    assert choose("process", WORKS) is Level.PROCESS
    with pytest.raises(SandboxError, match=r"bwrap does not work here \(no permission\)"):
        choose("bwrap", NO_BWRAP)


def test_an_unknown_level_is_refused() -> None:
    with pytest.raises(SandboxError, match="no isolation level 'docker'"):
        choose("docker", WORKS)


def test_what_is_chosen_by_probing_works() -> None:
    assert result_of(choose()).works


@pytest.fixture
def tools(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A PATH with what every level needs and nothing else."""
    folder = tmp_path / "tools"
    folder.mkdir()
    for name in ("prlimit", "taskset", "env"):
        (folder / name).symlink_to(shutil.which(name) or name)
    monkeypatch.setenv("PATH", str(folder))
    return folder


@pytest.mark.parametrize(("level", "tool"), [(Level.BWRAP, "bwrap"), (Level.NAMESPACES, "unshare")])
def test_a_missing_tool_is_the_reason(tools: Path, level: Level, tool: str) -> None:
    assert sandbox.probe(level) == Probe(level, works=False, reason=f"{tool} is not on PATH")


def test_a_tool_that_fails_is_quoted(tools: Path) -> None:
    fake = tools / "bwrap"
    fake.write_text("#!/bin/sh\necho first >&2\necho setting up uid map: no >&2\nexit 1\n")
    fake.chmod(0o755)
    reason = "exit status 1: setting up uid map: no"
    assert sandbox.probe(Level.BWRAP) == Probe(Level.BWRAP, works=False, reason=reason)


def test_a_tool_that_starts_but_does_not_isolate_is_not_believed(tools: Path) -> None:
    fake = tools / "bwrap"
    fake.write_text('#!/bin/sh\nwhile [ "$1" != -- ]; do shift; done\nshift\nexec "$@"\n')
    fake.chmod(0o755)
    found = sandbox.probe(Level.BWRAP)
    assert not found.works
    assert "found" in found.reason


PROBE_ALL = """
import sys
sys.path.insert(0, sys.argv[1])
from bench.emulators import sandbox
for level in sandbox.Level:
    found = sandbox.probe(level)
    print(level, found.works, found.reason)
"""


def probe_with(python: Path, *before: str) -> dict[str, str]:
    """What another Python, run behind `before`, finds of each level."""
    ended = subprocess.run(
        [*before, str(python), "-I", "-B", "-c", PROBE_ALL, str(REPOSITORY)],
        capture_output=True,
        text=True,
        check=True,
    )
    return dict(line.split(" ", 1) for line in ended.stdout.splitlines())


def test_a_virtual_environment_whose_base_is_behind_links(tmp_path: Path, level: Level) -> None:
    """As uv and pyenv make them; here even below /tmp."""
    (tmp_path / "base").symlink_to(Path(sys.base_prefix).resolve())
    (tmp_path / "python").symlink_to(tmp_path / "base" / "bin" / f"python3.{sys.version_info[1]}")
    venv = tmp_path / "venv"
    subprocess.run(
        [tmp_path / "base" / "bin" / "python3", "-I", "-m", "venv", "--without-pip", venv],
        check=True,
    )
    link = venv / "bin" / "python"
    link.unlink()
    link.symlink_to(tmp_path / "python")
    assert probe_with(link)[level] == "True "


def system_python() -> Path:
    if not SYSTEM_PYTHON.exists():
        pytest.skip(f"no {SYSTEM_PYTHON} that an ordinary user could run")
    if not os.access(REPOSITORY, os.X_OK) or not (REPOSITORY.stat().st_mode & 0o005):
        pytest.skip("this checkout is closed to other users")
    return SYSTEM_PYTHON


def as_nobody(level: Level, *before: str) -> str:
    return probe_with(system_python(), *before, *NOBODY)[level]


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: every other test runs as ordinary user")
def test_an_ordinary_user_gets_what_root_gets(level: Level) -> None:
    assert as_nobody(level) == "True "


@pytest.mark.skipif(os.geteuid() != 0, reason="not root: cannot mount a /tmp for the test")
def test_a_tmp_with_options_that_must_be_kept(level: Level) -> None:
    """An ordinary user's namespace may not drop nosuid and nodev, which many hosts set on /tmp."""
    if REPOSITORY.is_relative_to("/tmp"):
        pytest.skip("this checkout is below /tmp, which the test replaces")
    mounts = "mount -n -t tmpfs -o nosuid,nodev,mode=1777 tmpfs /tmp && "
    mounts += 'mount -n -o remount,bind,nosuid /dev && exec "$@"'
    assert as_nobody(level, "unshare", "-m", "sh", "-c", mounts, "sh") == "True "
