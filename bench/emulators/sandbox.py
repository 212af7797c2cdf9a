"""The isolation that stands in for an enclave's: three levels, each probed by running it.

bwrap       a root built of what is bound in, read-only; nothing else of the host can be seen.
namespaces  util-linux alone: the host's tree stays readable, all of it read-only.
process     a child process with limits: sees and may do what its user may.

The first two have no network, their own process numbers, IPC and host name, no capabilities, no
way to new ones, a small /tmp and /dev/shm, and an empty environment. All of them may use the CPUs
and the memory that they are given; memory is limited per process (RLIMIT_DATA: private memory, not
address space; mapped files, shared memory and the two tmpfs do not count). None has a seccomp
filter. None is a TEE: the host reads and changes whatever it likes.

Sockets reach in by path through a read-only bind; a listening socket is inherited.
"""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from pathlib import Path

MIB = 1024 * 1024
TMP_BYTES = 64 * MIB
SHARED_MEMORY_BYTES = 16 * MIB
VSOCK_FOLDER = Path("/run/vsock")
PROBE_SECONDS = 20.0
PROBE_MEMORY_MIB = 512
HINT = "install bubblewrap, permit user namespaces, or require a weaker level"

# A level that starts but does not isolate is not taken.
PROBE = """
import ctypes, os, ssl
interfaces = [line.split(":")[0].strip() for line in open("/proc/net/dev") if ":" in line]
pids = [name for name in os.listdir("/proc") if name.isdigit()]
read_only = os.statvfs("/").f_flag & os.ST_RDONLY
print(int(set(interfaces) <= {"lo"}), int(len(pids) <= 4), int(bool(read_only)))
"""


class SandboxError(Exception):
    """The machine cannot isolate as it was asked to."""

    def __init__(self, message: str, hint: str = "") -> None:
        super().__init__(f"{message}\nhint: {hint}" if hint else message)


class Level(StrEnum):
    """Isolation, strongest first."""

    BWRAP = "bwrap"
    NAMESPACES = "namespaces"
    PROCESS = "process"


@dataclass(frozen=True, slots=True)
class Probe:
    """Whether a level works on this machine; `reason` says why not."""

    level: Level
    works: bool
    reason: str = ""


def probe(level: Level) -> Probe:
    """Run Python at this level."""
    try:
        argv = command(
            level,
            [sys.executable, "-I", "-c", PROBE],
            vcpus=sorted(os.sched_getaffinity(0)),
            memory_mib=PROBE_MEMORY_MIB,
        )
        ended = subprocess.run(
            argv,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PROBE_SECONDS,
            check=False,
        )
    except (SandboxError, OSError, subprocess.TimeoutExpired) as error:
        return Probe(level, works=False, reason=str(error).partition("\n")[0])
    if ended.returncode != 0:
        last = (ended.stderr.strip().splitlines() or ["no message"])[-1]
        return Probe(level, works=False, reason=f"exit status {ended.returncode}: {last}")
    if level is not Level.PROCESS and ended.stdout.split() != ["1", "1", "1"]:
        facts = "no network, own process numbers, read-only root"
        return Probe(level, works=False, reason=f"{facts}: found {ended.stdout.strip()}")
    return Probe(level, works=True)


def choose(required: str | None = None, probes: Sequence[Probe] | None = None) -> Level:
    """The level that is required, or else the strongest that works; never a weaker one instead."""
    if required is not None and required not in list(Level):
        raise SandboxError(f"no isolation level {required!r}", f"one of {', '.join(Level)}")
    wanted = list(Level) if required is None else [Level(required)]
    refused = []
    for result in (probe(level) for level in wanted) if probes is None else probes:
        if result.level in wanted:
            if result.works:
                return result.level
            refused.append(f"{result.level} does not work here ({result.reason})")
    raise SandboxError("; ".join(refused), HINT)


def vsock_folder(level: Level, run_dir: Path) -> Path:
    """Where the code inside finds the sockets of `run_dir`."""
    return VSOCK_FOLDER if level is Level.BWRAP else run_dir


def command(
    level: Level,
    argv: Sequence[str],
    *,
    vcpus: Sequence[int],
    memory_mib: int | None,
    read_only: Sequence[Path] = (),
    run_dir: Path | None = None,
    environment: Mapping[str, str] | None = None,
) -> list[str]:
    """What to execute so that `argv` runs at `level`.

    `vcpus` are CPU numbers of the host; `memory_mib` None is no limit. `read_only` files and
    folders are seen at their own paths, as is the Python that runs this. The sockets in `run_dir`
    are at `vsock_folder()`. Descriptors that the process inherits stay open inside.
    """
    forbidden = set(vcpus) - os.sched_getaffinity(0)
    if forbidden or not vcpus:
        raise SandboxError(f"cpus {sorted(forbidden)} of {list(vcpus)} are not ours to use")
    limits = [_find("prlimit"), f"--data={memory_mib * MIB}"] if memory_mib else []
    affinity = [_find("taskset"), "-c", ",".join(str(cpu) for cpu in vcpus)]
    variables = dict(environment or {})
    if level is Level.BWRAP:
        inside = _bwrap(read_only, run_dir, variables)
    else:
        inside = [_find("env"), "-i", *(f"{name}={value}" for name, value in variables.items())]
        if level is Level.NAMESPACES:
            inside += _namespaces([*read_only, *([run_dir] if run_dir else [])])
    return [*limits, *affinity, *inside, *argv]


def _bwrap(
    read_only: Sequence[Path], run_dir: Path | None, variables: Mapping[str, str]
) -> list[str]:
    folders = [*_python_folders(), *read_only]
    argv = [_find("bwrap"), "--unshare-all", "--die-with-parent", "--new-session"]
    argv += ["--clearenv", "--cap-drop", "ALL", *_system()]
    argv += ["--proc", "/proc", "--dev", "/dev"]
    argv += ["--size", f"{SHARED_MEMORY_BYTES}", "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    argv += ["--size", f"{TMP_BYTES}", "--tmpfs", "/tmp"]
    for path in folders:
        argv += ["--ro-bind", str(path), str(path)]
    for link in _python_links(folders):
        argv += ["--symlink", os.readlink(link), str(link)]
    if run_dir:
        argv += ["--ro-bind", str(run_dir), str(VSOCK_FOLDER)]
    for name, value in variables.items():
        argv += ["--setenv", name, value]
    return [*argv, "--remount-ro", "/", "--chdir", "/", "--"]


def _system() -> list[str]:
    """The system's programs and libraries, linked or bound as the host has them."""
    argv = ["--ro-bind", "/usr", "/usr", "--ro-bind-try", "/etc/ld.so.cache", "/etc/ld.so.cache"]
    argv += ["--ro-bind-try", "/nix/store", "/nix/store"]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/") / name
        if path.is_symlink():
            argv += ["--symlink", os.readlink(path), str(path)]
        elif path.is_dir():
            argv += ["--ro-bind", str(path), str(path)]
    return argv


def _python_folders() -> list[Path]:
    """The running Python's own folder and, where that is a virtual environment, its base."""
    real = Path(sys.executable).resolve()
    folders = [Path(sys.prefix), Path(sys.base_prefix), Path(sys.base_prefix).resolve()]
    folders += [real] if not _below(real, folders) else []
    unique = dict.fromkeys(path for path in folders if path not in _SYSTEM_FOLDERS)
    return [path for path in unique if not _below(path, _SYSTEM_FOLDERS)]


_SYSTEM_FOLDERS = [Path("/"), Path("/usr"), Path("/usr/local"), Path("/nix/store")]
