"""Child processes that never outlive us, however we die, and that stop as whole trees.

The kernel kills a child when the *thread* that started it ends (PR_SET_PDEATHSIG, prctl(2)), not
when the process does. So every child is started from one thread that ends only with the process.
The request to be killed is made by setpriv(1) and not between fork and exec, where Python may not
run in a process that has threads; a shell then checks that we did not die before it was made.

A job script of a workflow has a controller above it that may be killed without a word to its jobs:
`tie_to` makes such a script die with it.
"""

from __future__ import annotations

import contextlib
import os
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future
from pathlib import Path
from queue import SimpleQueue
from types import TracebackType
from typing import NoReturn, Self

PROC = Path("/proc")
STOP_SECONDS = 5.0
TAIL_BYTES = 4096
CONTROLLER_FD = 0  # where a guard finds the pidfd of the controller

Start = Callable[[], "subprocess.Popen[bytes]"]

# $1 is us: had we died before the kernel was asked, our child would have another parent by now.
CHECK_PARENT = 'test "$PPID" = "$1" || exit 1; shift; exec "$@"'


class Process:
    """A running child, leader of its own session. Leaving the context stops it."""

    def __init__(self, popen: subprocess.Popen[bytes], log: Path | None) -> None:
        self._popen = popen
        self._lock = threading.Lock()  # between reaping and signalling: a number is never reused
        self._ended = threading.Event()
        self.pid = popen.pid
        self.log = log
        pidfd = os.pidfd_open(self.pid)
        threading.Thread(target=self._reap, args=(pidfd,), daemon=True).start()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    def wait(self, timeout_s: float | None = None) -> int | None:
        """The exit status (negative: a signal), or None while it runs."""
        return self._popen.returncode if self._ended.wait(timeout_s) else None

    def stop(self, grace_s: float = STOP_SECONDS) -> int:
        """SIGTERM to its process group; after `grace_s`, SIGKILL to all that came of it."""
        with contextlib.ExitStack() as opened:
            with self._lock:
                if self._ended.is_set():
                    return self._popen.returncode
                family = _open_descendants(self.pid, opened)  # whatever session they made
            self._signal_group(signal.SIGTERM)
            self.wait(grace_s)
            self._signal_group(signal.SIGKILL)
            for pidfd in family.values():
                _send(pidfd, signal.SIGKILL)
            self._ended.wait()
        return self._popen.returncode

    def tail(self) -> str:
        """The end of its log, for error messages; empty where it has none."""
        if self.log is None:
            return ""
        return self.log.read_bytes()[-TAIL_BYTES:].decode(errors="replace")

    def _reap(self, pidfd: int) -> None:
        _wait_for_end(pidfd)
        self._signal_group(signal.SIGKILL)  # what it left behind in its group
        with self._lock:
            self._popen.wait()
            self._ended.set()

    def _signal_group(self, number: signal.Signals) -> None:
        with self._lock, contextlib.suppress(ProcessLookupError):
            if not self._ended.is_set():
                os.killpg(self.pid, number)


def spawn(
    argv: Sequence[str],
    *,
    pass_fds: Sequence[int] = (),
    env: Mapping[str, str] | None = None,
    cwd: Path | None = None,
    log: Path | None = None,
) -> Process:
    """Start `argv` in a session of its own, killed by the kernel when we die.

    Output is appended to `log`, or thrown away; `env` is all of its environment (None: ours).
    Callable from any thread. FileNotFoundError where the program, or util-linux's setpriv, is
    missing.
    """
    command = [_find("setpriv"), "--pdeathsig", "SIGKILL", _find("sh"), "-c", CHECK_PARENT, "sh"]
    command += [str(os.getpid()), _find(argv[0]), *argv[1:]]

    def start() -> subprocess.Popen[bytes]:
        with contextlib.ExitStack() as opened:
            out = opened.enter_context(log.open("ab")) if log else subprocess.DEVNULL
            return subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=out,
                stderr=out,
                cwd=cwd,
                env=env,
                pass_fds=pass_fds,
                start_new_session=True,
            )

    return Process(_on_lasting_thread(start), log)


def tie_to(pid: int) -> int:
    """Die with process `pid`: when it is gone, we and all our descendants are killed.

    A guard does it, a process of its own whose number is returned: no thread of ours could keep
    the others from starting children, or from taking a killed child's status for a result. It ends
    with us. Our process group falls too if we lead it; else the user's shell may be in it.
    """
    try:
        pidfd = os.pidfd_open(pid)
    except ProcessLookupError:
        os.kill(os.getpid(), signal.SIGKILL)
        raise
    nowhere = [(os.POSIX_SPAWN_OPEN, output, os.devnull, os.O_WRONLY, 0) for output in (1, 2)]
    guard = os.posix_spawn(
        sys.executable,
        [sys.executable, "-I", "-S", "-B", __file__, str(os.getpid())],
        {},
        file_actions=[(os.POSIX_SPAWN_DUP2, pidfd, CONTROLLER_FD), *nowhere],
        setsid=True,
    )
    os.close(pidfd)
    return guard


def _guard(pid: int) -> None:
    """Until `pid`, our parent, ends: watch the controller and end them all when it does."""
    own = os.pidfd_open(pid)
    if os.getppid() != pid:
        return
    poll = select.poll()
    poll.register(own, select.POLLIN)
    poll.register(CONTROLLER_FD, select.POLLIN)
    if own in dict(poll.poll()):
        return
    with contextlib.ExitStack() as opened:
        frozen = {pid: own}
        _send(own, signal.SIGSTOP)
        while new := {  # again until nobody new turns up: who is stopped starts no more children
            number: pidfd
            for number, pidfd in _open_descendants(pid, opened).items()
            if number not in frozen and number != os.getpid()
        }:
            for pidfd in new.values():
                _send(pidfd, signal.SIGSTOP)
            frozen |= new
        leads = os.getpgid(pid) == pid
        for pidfd in frozen.values():
            _send(pidfd, signal.SIGKILL)
        if leads:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGKILL)


def _open_descendants(ancestor: int, opened: contextlib.ExitStack) -> dict[int, int]:
    """Process number -> pidfd of everything below `ancestor`."""
    processes = _processes()
    family = {ancestor}
    while grown := {pid for pid, (parent, _) in processes.items() if parent in family} - family:
        family |= grown
    pidfds = {}
    for pid in family - {ancestor}:
        with contextlib.suppress(ProcessLookupError):
            pidfd = os.pidfd_open(pid)
            opened.callback(os.close, pidfd)
            if _read_process(pid)[1] == processes[pid][1]:  # still the one that was listed
                pidfds[pid] = pidfd
    return pidfds


def _processes() -> dict[int, tuple[int, int]]:
    """Process number -> (parent, start time in clock ticks); zombies are left out."""
    processes = {}
    for pid in (int(path.name) for path in PROC.iterdir() if path.name.isdigit()):
        with contextlib.suppress(ProcessLookupError):
            processes[pid] = _read_process(pid)
    return processes


def _read_process(pid: int) -> tuple[int, int]:
    """(Parent, start time); ProcessLookupError where it has ended, reaped or not."""
    try:
        text = (PROC / str(pid) / "stat").read_text(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        raise ProcessLookupError(pid) from None
    fields = text.rpartition(")")[2].split()  # the name before it may hold anything
    if fields[0] in "ZX":
        raise ProcessLookupError(pid)
    return int(fields[1]), int(fields[19])


def _send(pidfd: int, number: signal.Signals) -> None:
    with contextlib.suppress(ProcessLookupError, PermissionError):
        signal.pidfd_send_signal(pidfd, number)


def _wait_for_end(pidfd: int) -> None:
    """Block until the process has ended, reaped or not; closes `pidfd`."""
    poll = select.poll()
    poll.register(pidfd, select.POLLIN)
    poll.poll()
    os.close(pidfd)


def _find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise FileNotFoundError(f"{program} is not on PATH or not executable")
    return str(Path(path).absolute())


class _LastingThread:
    """One thread that starts all children and ends only with the process `pid`."""

    def __init__(self) -> None:
        self.pid = os.getpid()
        self._work: SimpleQueue[tuple[Start, Future[subprocess.Popen[bytes]]]] = SimpleQueue()
        threading.Thread(target=self._run, name="spawn", daemon=True).start()

    def start(self, start: Start) -> subprocess.Popen[bytes]:
        future: Future[subprocess.Popen[bytes]] = Future()
        self._work.put((start, future))
        return future.result()

    def _run(self) -> NoReturn:
        while True:
            start, future = self._work.get()
            try:
                future.set_result(start())
            except BaseException as error:  # raised again by whoever asked
                future.set_exception(error)
            del start, future


_lasting: _LastingThread | None = None
_lasting_lock = threading.Lock()


def _on_lasting_thread(start: Start) -> subprocess.Popen[bytes]:
    global _lasting
    with _lasting_lock:
        if _lasting is None or _lasting.pid != os.getpid():  # a fork has no thread but its own
            _lasting = _LastingThread()
    return _lasting.start(start)


if __name__ == "__main__":
    _guard(int(sys.argv[1]))
