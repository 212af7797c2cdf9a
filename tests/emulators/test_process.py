"""Children die with us, stop as trees, and a script dies with its controller.

Each test starts real processes; waiting is on pipes and pidfds, never on a clock.
"""

from __future__ import annotations

import contextlib
import os
import select
import signal
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from bench.emulators import process
from bench.emulators.process import spawn

REPOSITORY = Path(__file__).parents[2]
LIMIT_S = 20.0

# Says its number and lives on; if told, deaf to SIGTERM or in a session of its own.
CHILD = """
import os, signal, sys, time
if "deaf" in sys.argv: signal.signal(signal.SIGTERM, signal.SIG_IGN)
if "leaver" in sys.argv: os.setsid()
os.write(int(sys.argv[1]), b"%d\\n" % os.getpid())
time.sleep(600)
"""

# How a parent begins that starts `CHILD` and dies as it is told to.
PARENT = """
import os, signal, sys, threading
from pathlib import Path
from bench.emulators.process import spawn, tie_to
"""


class Ends:
    """Waits for a process that need not be our child; made while it still lives."""

    def __init__(self, pid: int) -> None:
        self._pidfd = os.pidfd_open(pid)

    def __call__(self, within_s: float = LIMIT_S) -> bool:
        ready, _, _ = select.select([self._pidfd], [], [], within_s)
        return bool(ready)

    def close(self) -> None:
        os.close(self._pidfd)


@contextlib.contextmanager
def watching(pid: int) -> Iterator[Ends]:
    ends = Ends(pid)
    try:
        yield ends
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        ends.close()


@dataclass
class Pipe:
    """What a child writes to `write`, we read."""

    read: int
    write: int

    def number(self) -> int:
        assert select.select([self.read], [], [], LIMIT_S)[0], "the child said nothing"
        return int(os.read(self.read, 20))


@pytest.fixture
def pipe() -> Iterator[Pipe]:
    read, write = os.pipe()
    yield Pipe(read, write)
    os.close(read)
    os.close(write)


def start(code: str, *arguments: str, fds: tuple[int, ...] = ()) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-c", code, *arguments],
        stdout=subprocess.PIPE,
        text=True,
        env={"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]},
        pass_fds=fds,
    )


def child_command(pipe: Pipe, *manner: str) -> list[str]:
    return [sys.executable, "-c", CHILD, str(pipe.write), *manner]


def line(parent: subprocess.Popen[str]) -> str:
    assert parent.stdout is not None
    return parent.stdout.readline().strip()


@contextlib.contextmanager
def script(
    code: str, *arguments: str, fds: tuple[int, ...] = ()
) -> Iterator[subprocess.Popen[str]]:
    with start(PARENT + code, *arguments, fds=fds) as parent:
        try:
            yield parent
        finally:
            parent.kill()


def test_a_child_runs_with_what_it_is_given(tmp_path: Path) -> None:
    read_end, write_end = os.pipe()
    code = (
        "import os, sys; os.write(int(sys.argv[1]), b'through'); print('out', flush=True);"
        "print(os.getcwd(), sorted(set(os.environ) - {'PWD', 'LC_CTYPE'}), os.getpgrp() =="
        " os.getpid(), file=sys.stderr); sys.exit(3)"
    )
    log = tmp_path / "log"
    log.write_text("before\n")
    child = spawn(
        [sys.executable, "-I", "-c", code, str(write_end)],
        pass_fds=[write_end],
        env={"ONLY": "this"},
        cwd=tmp_path,
        log=log,
    )
    os.close(write_end)
    assert child.wait(LIMIT_S) == 3
    assert os.read(read_end, 100) == b"through"
    os.close(read_end)
    assert child.tail() == f"before\nout\n{tmp_path} ['ONLY'] True\n"


def test_an_argument_is_passed_as_it_is(tmp_path: Path) -> None:
    odd = ["", "a b", "$HOME", "'\"\\", "*", "-c", "--"]
    log = tmp_path / "log"
    spawn([sys.executable, "-c", "import sys; print(sys.argv[1:])", *odd], log=log).wait(LIMIT_S)
    assert log.read_text() == f"{odd}\n"


def test_a_signal_is_a_negative_status() -> None:
    child = spawn([sys.executable, "-c", "import os; os.kill(os.getpid(), 9)"])
    assert child.wait(LIMIT_S) == -signal.SIGKILL
    assert child.stop() == -signal.SIGKILL


def test_no_status_while_it_runs() -> None:
    with spawn(["sleep", "600"]) as child:
        assert child.wait(0) is None
    assert child.wait(0) == -signal.SIGTERM


def test_a_missing_program_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(FileNotFoundError, match="no-such-program"):
        spawn(["no-such-program"])
    monkeypatch.setenv("PATH", "/nowhere")
    with pytest.raises(FileNotFoundError, match="setpriv"):
        spawn([sys.executable])


def test_a_failed_start_is_raised_where_it_was_asked(tmp_path: Path) -> None:
    with pytest.raises(FileNotFoundError):
        spawn(["true"], cwd=tmp_path / "nowhere")
    assert spawn(["true"]).wait(LIMIT_S) == 0


def test_stop_ends_a_deaf_child(pipe: Pipe) -> None:
    with spawn(child_command(pipe, "deaf"), pass_fds=[pipe.write]) as child:
        assert pipe.number() == child.pid
        assert child.stop(grace_s=0.05) == -signal.SIGKILL


@pytest.mark.parametrize("manner", ["", "deaf", "leaver", "deaf leaver"])
def test_stop_ends_the_grandchildren_too(pipe: Pipe, manner: str) -> None:
    code = "import subprocess, sys; subprocess.run(sys.argv[1:], close_fds=False)"
    arguments = [sys.executable, "-c", code, *child_command(pipe, *manner.split())]
    with spawn(arguments, pass_fds=[pipe.write]) as child, watching(pipe.number()) as ends:
        child.stop(grace_s=0.05)
        assert ends()


def test_a_child_that_ends_takes_its_group_along(pipe: Pipe) -> None:
    code = "import subprocess, sys; subprocess.Popen(sys.argv[2:], close_fds=False)"
    code += "; open(int(sys.argv[1])).read()"
    read, write = os.pipe()
    arguments = [sys.executable, "-c", code, str(read), *child_command(pipe, "deaf")]
    with spawn(arguments, pass_fds=[read, pipe.write]) as child:
        os.close(read)
        with watching(pipe.number()) as ends:
            os.close(write)  # now the child ends by itself
            assert child.wait(LIMIT_S) == 0
            assert ends()


SPAWNER = """
spawn(sys.argv[2:], pass_fds=[int(sys.argv[1])])
open(READ).read()
"""


def test_children_die_when_their_parent_is_killed(pipe: Pipe) -> None:
    command = child_command(pipe, "deaf")
    code = SPAWNER.replace("open(READ).read()", "signal.pause()")
    with (
        script(code, str(pipe.write), *command, fds=(pipe.write,)) as parent,
        watching(pipe.number()) as ends,
    ):
        parent.kill()
        assert ends()


def test_children_die_when_their_parent_ends_by_itself(pipe: Pipe) -> None:
    command = child_command(pipe, "deaf")
    read, write = os.pipe()
    code = SPAWNER.replace("READ", str(read))
    with script(code, str(pipe.write), *command, fds=(pipe.write, read)) as parent:
        os.close(read)
        with watching(pipe.number()) as ends:
            os.close(write)
            assert parent.wait(LIMIT_S) == 0
            assert ends()


def test_a_child_outlives_the_thread_that_asked_for_it(pipe: Pipe) -> None:
    children = []

    def ask() -> None:
        children.append(spawn(child_command(pipe), pass_fds=[pipe.write]))

    thread = threading.Thread(target=ask)
    thread.start()
    thread.join()
    with children[0] as child, watching(pipe.number()) as ends:
        assert child.wait(0) is None
        assert not ends(within_s=0.05)


def test_a_parent_that_died_before_the_request_is_noticed() -> None:
    arguments = ["sh", "-c", process.CHECK_PARENT, "sh", str(os.getppid()), "echo", "ran"]
    ended = subprocess.run(arguments, capture_output=True, check=False)
    assert (ended.returncode, ended.stdout) == (1, b"")
    arguments[4] = str(os.getpid())
    assert subprocess.run(arguments, capture_output=True, check=True).stdout == b"ran\n"


def test_a_forked_process_can_spawn_too() -> None:
    spawn(["true"]).wait(LIMIT_S)
    code = """
assert spawn(["true"]).wait(20) == 0
pid = os.fork()
if pid == 0:
    os._exit(spawn(["sh", "-c", "exit 7"]).wait(20))
print(os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]), flush=True)
"""
    with script("import warnings; warnings.simplefilter('ignore')\n" + code) as parent:
        assert line(parent) == "7"


# What runs after its child has died would take that for a result.
TIED = """
import subprocess
controller = int(sys.argv[1])
tie_to(controller)
print(os.getpid(), flush=True)
subprocess.run(sys.argv[2:], close_fds=False)
print("went on without its controller", flush=True)
"""


@pytest.fixture
def controller() -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(["sleep", "600"]) as process:
        yield process
        process.kill()


def test_a_tied_script_and_its_children_die_with_the_controller(
    pipe: Pipe, controller: subprocess.Popen[bytes]
) -> None:
    command = child_command(pipe, "deaf", "leaver")
    with (
        script(TIED, str(controller.pid), *command, fds=(pipe.write,)) as tied,
        watching(pipe.number()) as child_end,
    ):
        assert tied.poll() is None
        controller.kill()
        assert tied.communicate(timeout=LIMIT_S)[0].split() == [str(tied.pid)]
        assert tied.returncode == -signal.SIGKILL
        assert child_end()


# Starts children without end and without asking for their death; each holds the descriptor.
BREEDER = """
import subprocess
tie_to(int(sys.argv[1]))
while True:
    subprocess.Popen(["sleep", "600"], close_fds=False, start_new_session=True)
    os.write(int(sys.argv[2]), b"+")
"""


def test_a_tied_script_that_keeps_starting_children_leaves_none(
    controller: subprocess.Popen[bytes],
) -> None:
    read, write = os.pipe()
    with script(BREEDER, str(controller.pid), str(write), fds=(write,)) as tied:
        os.close(write)
        os.read(read, 1)
        controller.kill()
        assert tied.wait(LIMIT_S) == -signal.SIGKILL
    while select.select([read], [], [], LIMIT_S)[0] and os.read(read, 4096):
        pass
    ended = select.select([read], [], [], 0)[0]
    os.close(read)
    assert ended, "a child lives on"


def test_the_guard_ends_with_the_script(controller: subprocess.Popen[bytes]) -> None:
    code = "print(tie_to(int(sys.argv[1])), flush=True); signal.pause()"
    with script(code, str(controller.pid)) as tied, watching(int(line(tied))) as ends:
        assert not ends(within_s=0.05)
        tied.kill()
        assert ends()
    assert controller.poll() is None


def test_a_script_tied_to_nobody_dies_at_once(controller: subprocess.Popen[bytes]) -> None:
    controller.kill()
    controller.wait()
    with script(TIED, str(controller.pid), "sleep", "600") as tied:
        assert tied.wait(LIMIT_S) == -signal.SIGKILL


def test_a_tied_script_spares_the_group_it_does_not_lead(
    controller: subprocess.Popen[bytes],
) -> None:
    """It shares our process group here, and we live to tell."""
    with script(TIED, str(controller.pid), "sleep", "600") as tied:
        assert os.getpgid(int(line(tied))) == os.getpgrp()
        controller.kill()
        assert tied.wait(LIMIT_S) == -signal.SIGKILL
