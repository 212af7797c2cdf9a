"""One run to a folder; a run that is killed leaves no job behind and nothing to clear by hand."""

from __future__ import annotations

import os
import select
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.workflow.tree import Tree, command, environment

LIMIT_S = 60

# Says who runs it, then waits for a word that never comes.
WAIT = """
import os
with open("started", "w") as started:
    print(os.getpid(), os.environ["CONFBENCH_CONTROLLER"], file=started)
with open("go") as go:
    go.read()
"""


@pytest.fixture
def tree(tmp_path: Path) -> Tree:
    """Nothing made yet; measuring waits."""
    tree = Tree.make(tmp_path / "repository")
    for name in ("started", "go"):
        os.mkfifo(tree.root / name)
    script = tree.root / "scripts" / "measure_tier.py"
    script.write_text(script.read_text() + WAIT)
    return tree


@contextmanager
def run(tree: Tree, *prefix: str, **variables: str) -> Iterator[subprocess.Popen[bytes]]:
    """A run in the background, in a process group of its own; killed at the end."""
    with subprocess.Popen(
        [*prefix, *command(["all", "--config", "repetitions=1"])],
        cwd=tree.root,
        env=environment() | variables,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    ) as process:
        try:
            yield process
        finally:
            process.kill()


def started(tree: Tree) -> tuple[int, int]:
    """Job and controller, once the job runs, as descriptors that tell of their end."""
    with (tree.root / "started").open() as told:
        job, controller = told.read().split()
    return os.pidfd_open(int(job)), os.pidfd_open(int(controller))


def ends(pidfd: int) -> bool:
    """Whether a process ends within the limit."""
    readable, _, _ = select.select([pidfd], [], [], LIMIT_S)
    os.close(pidfd)
    return bool(readable)


def test_a_second_run_beside_a_live_one_is_refused(tree: Tree) -> None:
    with run(tree) as first:
        job, controller = started(tree)
        second = tree.snakemake("all", "--config", "repetitions=1")
        assert second.returncode != 0
        assert f"another run is alive in this folder (process {first.pid})" in second.stdout
        assert "hint:" in second.stdout
        assert first.poll() is None
        first.kill()
        assert ends(job)
        assert ends(controller)


def test_a_killed_run_leaves_no_job_and_the_next_one_finishes(tree: Tree) -> None:
    with run(tree) as process:
        job, controller = started(tree)
        os.kill(process.pid, signal.SIGKILL)
        assert ends(job)
        assert ends(controller)
    script = tree.root / "scripts" / "measure_tier.py"
    script.write_text(script.read_text().removesuffix(WAIT))
    tree.finish("--config", "repetitions=1")
    assert tree.planned("--config", "repetitions=1") == {}


def test_a_run_ends_with_the_make_that_started_it(tree: Tree) -> None:
    shell = ("sh", "-c", '"$@" & wait', "sh")
    with run(tree, *shell, MAKELEVEL="1") as make:
        job, controller = started(tree)
        make.kill()
        assert ends(controller)
        assert ends(job)
