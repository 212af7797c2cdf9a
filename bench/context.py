"""Facts about the machine and the code that stand in every record.

A fact that this machine does not tell is left out; nothing is filled in.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterable, Iterator
from hashlib import sha256
from importlib import metadata
from pathlib import Path

CPUINFO = ("model name", "microcode", "cache size")
PLACES = {
    "cpu_governor": "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "numa_nodes": "/sys/devices/system/node/online",
    "clock_source": "/sys/devices/system/clocksource/clocksource0/current_clocksource",
    "smt_active": "/sys/devices/system/cpu/smt/active",
    "transparent_hugepages": "/sys/kernel/mm/transparent_hugepage/enabled",
}
LIBRARIES = ("torch", "tokenizers", "cryptography", "cbor2", "pyhpke", "boto3", "botocore")


def machine() -> dict[str, object]:
    """CPU, kernel, memory, placement, library versions, as this machine tells them."""
    facts: dict[str, object] = dict(_cpuinfo())
    for name, place in PLACES.items():
        path = Path(place)
        if path.is_file():
            facts[name] = path.read_text().strip()
    facts |= {
        "cpus_online": os.cpu_count() or 0,
        "kernel": platform.release(),
        "architecture": platform.machine(),
        "page_bytes": os.sysconf("SC_PAGE_SIZE"),
        "memory_mib": os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES") // 2**20,
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "libraries_sha256": libraries_digest(),
        "placement": placement(),
    }
    return facts


def placement(
    system: Path = Path("/sys/devices/system"), status: Path = Path("/proc/self/status")
) -> dict[str, object]:
    """Which CPUs and how much memory each NUMA node has, which CPUs share a core, and of all of
    them those that this process, and so what it starts, may use."""
    nodes = {
        path.name.removeprefix("node"): {
            "cpus": (path / "cpulist").read_text().strip(),
            "memory_mib": _memory_mib((path / "meminfo").read_text()),
        }
        for path in sorted(system.glob("node/node[0-9]*"))
    }
    cores = system.glob("cpu/cpu[0-9]*/topology/thread_siblings_list")
    fields = dict(line.split(":", 1) for line in status.read_text().splitlines() if ":" in line)
    allowed = {"cpus": "Cpus_allowed_list", "nodes": "Mems_allowed_list"}
    return {
        "numa": nodes,
        "smt_siblings": sorted({path.read_text().strip() for path in cores}),
        "allowed": {name: fields[key].strip() for name, key in allowed.items() if key in fields},
    }


def _memory_mib(meminfo: str) -> int:
    """`Node 0 MemTotal: 23816396 kB`, in MiB."""
    line = next(line for line in meminfo.splitlines() if "MemTotal" in line)
    return int(line.split()[-2]) // 1024


def _cpuinfo() -> Iterator[tuple[str, str]]:
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if not line:
            return  # one processor is enough
        name, _, value = line.partition(":")
        if name.strip() in CPUINFO:
            yield f"cpu_{name.strip().removeprefix('cpu ').replace(' ', '_')}", value.strip()


def libraries_digest() -> str:
    """SHA-256 over the RECORD of every installed distribution: which wheels' files these are."""
    digest = sha256()
    for name in sorted(_records()):
        digest.update(name.encode())
    return digest.hexdigest()


def _records() -> Iterator[str]:
    for distribution in metadata.distributions():
        record = distribution.read_text("RECORD") or ""
        wheel_files = "\n".join(
            sorted(line for line in record.splitlines() if not line.split(",")[0].endswith(".pyc"))
        )
        name = f"{distribution.metadata['Name']} {distribution.version}"
        yield f"{name} {sha256(wheel_files.encode()).hexdigest()}"


def noise() -> dict[str, float]:
    """Load and steal so far; the difference of two readings says how quiet it was between them.

    CPU seconds of all CPUs: `busy_s` of everybody, `own_s` of this process and all that it started,
    `steal_s` of other machines on the same host.
    """
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    ticks = os.sysconf("SC_CLK_TCK")
    busy = sum(int(value) for value in fields) - int(fields[3]) - int(fields[4])
    return {
        "busy_s": busy / ticks,
        "own_s": _own_ticks(os.getpid()) / ticks,
        "steal_s": int(fields[7]) / ticks,
        "load_1min": os.getloadavg()[0],
    }


def _own_ticks(root: int) -> int:
    """CPU time of a process and of its descendants, alive or waited for."""
    parents, ticks = {}, {}
    for place in Path("/proc").glob("[0-9]*/stat"):
        try:
            # The name in brackets may hold anything; what follows it may not.
            fields = place.read_text(errors="replace").rpartition(")")[2].split()
        except OSError:
            continue  # ended meanwhile, and counts at its parent
        process = int(place.parent.name)
        parents[process], ticks[process] = int(fields[1]), sum(map(int, fields[11:15]))
    own, found = set(), {root}
    while found:
        own |= found
        found = {process for process, parent in parents.items() if parent in found}
    return sum(ticks.get(process, 0) for process in own)


def revision(root: Path) -> dict[str, str]:
    """`git describe` of the checkout, and nothing where this is none."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--tags"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"revision": done.stdout.strip()}


def code(paths: Iterable[Path]) -> str:
    """SHA-256 in hex over names and bytes of the files that measure."""
    digest = sha256()
    for path in sorted(paths):
        digest.update(f"{path} {sha256(path.read_bytes()).hexdigest()}\n".encode())
    return digest.hexdigest()
