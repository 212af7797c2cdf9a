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
import re
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
SYSTEM_FOLDERS = (Path("/usr"), Path("/nix/store"))
PROBE_SECONDS = 20.0
PROBE_MEMORY_MIB = 512
HINT = "install bubblewrap, permit user namespaces, or require a weaker level"

# mount(8) keeps the other options, which an ordinary user may not take away. What is not required
# is sealed as far as the kernel permits; what stays writable is in the report from inside.
MAKE_READ_ONLY = """while read -r _ _ _ _ point options _; do
  case $options:$point in
    rw*:/tmp | rw*:/dev/shm | rw*:/proc) ;;
    {required}) {mount} -o remount,bind,ro "$point" ;;
    rw*) {mount} -o remount,bind,ro "$point" 2> /dev/null || true ;;
  esac
done < /proc/self/mountinfo"""

# A level that starts but does not isolate is not taken.
PROBE = """
import ctypes, os, ssl
routed = set()
for table, column in (("route", 0), ("ipv6_route", -1)):
    if os.path.exists("/proc/net/" + table):
        routed |= {row.split()[column] for row in open("/proc/net/" + table)} - {"Iface", "lo"}
pids = [name for name in os.listdir("/proc") if name.isdigit()]
read_only = os.statvfs("/").f_flag & os.ST_RDONLY
print(int(not routed), int(len(pids) <= 8), int(bool(read_only)))
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
    cleared = [_find("env"), "-i", *(f"{name}={value}" for name, value in variables.items())]
    match level:
        case Level.BWRAP:
            inside = _bwrap(read_only, run_dir, variables)
        case Level.NAMESPACES:
            shown = [*read_only, run_dir] if run_dir else read_only
            inside = [*_namespaces(shown), *cleared]
        case Level.PROCESS:
            inside = cleared
    return [*limits, *affinity, *inside, *argv]


def _bwrap(
    read_only: Sequence[Path], run_dir: Path | None, variables: Mapping[str, str]
) -> list[str]:
    folders, links = _python()
    argv = [_find("bwrap"), "--unshare-all", "--die-with-parent", "--new-session"]
    argv += ["--clearenv", "--cap-drop", "ALL", *_system(), "--proc", "/proc", "--dev", "/dev"]
    argv += ["--size", str(SHARED_MEMORY_BYTES), "--tmpfs", "/dev/shm", "--remount-ro", "/dev"]
    argv += ["--size", str(TMP_BYTES), "--tmpfs", "/tmp"]
    for path in [*folders, *read_only]:
        argv += ["--ro-bind", str(path), str(path)]
    for link in links:
        argv += ["--symlink", str(link.readlink()), str(link)]
    if run_dir:
        argv += ["--ro-bind", str(run_dir), str(VSOCK_FOLDER)]
    for name, value in variables.items():
        argv += ["--setenv", name, value]
    return [*argv, "--remount-ro", "/", "--chdir", "/", "--"]


def _system() -> list[str]:
    """The system's programs and libraries, linked or bound as the host has them."""
    argv = ["--ro-bind", "/usr", "/usr"]
    for optional in ("/etc/ld.so.cache", "/nix/store"):
        argv += ["--ro-bind-try", optional, optional]
    for name in ("bin", "sbin", "lib", "lib32", "lib64", "libx32"):
        path = Path("/", name)
        if path.is_symlink():
            argv += ["--symlink", str(path.readlink()), str(path)]
        elif path.is_dir():
            argv += ["--ro-bind", str(path), str(path)]
    return argv


def _python() -> tuple[list[Path], list[Path]]:
    """Folders and links, outside the system's, that the running Python needs to start.

    A virtual environment's `bin/python` may go through several links to a base that is elsewhere.
    """
    links = []
    executable = Path(sys.executable)
    while executable.is_symlink():
        links.append(executable)
        executable = Path(os.path.normpath(executable.parent / executable.readlink()))
    base = Path(sys.base_prefix)
    wanted = [Path(sys.prefix), base, base.resolve(), executable.parent.parent]
    folders = [path for path in dict.fromkeys(wanted) if not _is_below(path, SYSTEM_FOLDERS)]
    known = [*folders, *SYSTEM_FOLDERS]
    return folders, [link for link in links if not _is_below(link, known)]


def _namespaces(paths: Sequence[Path]) -> list[str]:
    """unshare(1), then a shell that makes the tree read-only and gives up all privileges."""
    flags = ["--user", "--map-root-user", "-n", "-m", "-p", "-i", "-u", "-C"]
    flags += ["--fork", "--mount-proc", "--kill-child"]
    return [_find("unshare"), *flags, _find("sh"), "-c", _script(paths), "sandbox"]


def _script(paths: Sequence[Path]) -> str:
    """What is needed from below /tmp is bound into a new one, made ready on /dev/shm."""
    mkdir, ln, setpriv = map(_find, ("mkdir", "ln", "setpriv"))
    mount = f"{_find('mount')} --no-mtab"  # or root would leave a file in the host's /run
    folders, links = _python()
    hidden = _hidden([*folders, *paths])
    lines = ["set -e", f"{mount} -t tmpfs -o {_tmpfs(TMP_BYTES)} tmpfs /dev/shm"]
    for path in hidden:
        place = _staged(path)
        make = f"{mkdir} -p {place}" if path.is_dir() else f": > {place}"
        lines += [f"{mkdir} -p {_staged(path.parent)}", make]
        lines += [f"{mount} --rbind {_quote(path)} {place}"]
    for link in _hidden(links):
        lines += [f"{mkdir} -p {_staged(link.parent)}"]
        lines += [f"{ln} -s {_quote(link.readlink())} {_staged(link)}"]
    required = " | ".join(f"rw*:{_quote(path)}" for path in [Path("/"), *hidden])
    lines += [
        f"{mount} --move /dev/shm /tmp",
        f"{mount} -t tmpfs -o {_tmpfs(SHARED_MEMORY_BYTES)} tmpfs /dev/shm",
        MAKE_READ_ONLY.format(required=required, mount=mount),
        "cd /",
        f'exec {setpriv} --no-new-privs --bounding-set=-all --inh-caps=-all "$@"',
    ]
    return "\n".join(lines)


def _hidden(paths: Sequence[Path]) -> list[Path]:
    """Those of `paths` that a new /tmp hides, outermost only."""
    found: list[Path] = []
    for path in sorted(set(paths)):
        in_tmp = _is_below(path, [Path("/tmp")])
        if _is_below(path, [Path("/dev/shm")]) or (in_tmp and re.search(r"[\s\\]", str(path))):
            hint = "use another folder, without spaces in its name"
            raise SandboxError(f"{path} cannot be shown at level namespaces", hint)
        if in_tmp and not _is_below(path, found):
            found.append(path)
    return found


def _staged(path: Path) -> str:
    return _quote(Path("/dev/shm") / path.relative_to("/tmp"))


def _tmpfs(size_bytes: int) -> str:
    return f"size={size_bytes},nosuid,nodev"


def _is_below(path: Path, folders: Sequence[Path]) -> bool:
    return any(path.is_relative_to(folder) for folder in folders)


def _quote(path: str | Path) -> str:
    return shlex.quote(str(path))


def _find(program: str) -> str:
    path = shutil.which(program)
    if path is None:
        raise SandboxError(f"{program} is not on PATH", HINT)
    return path
