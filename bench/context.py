"""Facts about the machine and the code that stand in every record.

A fact that this machine does not tell is left out; nothing is filled in.
"""

from __future__ import annotations

import os
import platform
import subprocess
from collections.abc import Iterator
from hashlib import sha256
from importlib import metadata
from pathlib import Path

CPUINFO = ("model name", "microcode", "cache size")
PLACES = {
    "cpu_governor": "/sys/devices/system/cpu/cpu0/cpufreq/scaling_governor",
    "numa_nodes": "/sys/devices/system/node/online",
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
    }
    return facts


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
    """Load and steal so far; the difference of two readings says how quiet it was between them."""
    fields = Path("/proc/stat").read_text().splitlines()[0].split()[1:]
    ticks = os.sysconf("SC_CLK_TCK")
    busy = sum(int(value) for value in fields) - int(fields[3]) - int(fields[4])
    return {
        "busy_s": busy / ticks,
        "steal_s": int(fields[7]) / ticks,
        "load_1min": os.getloadavg()[0],
    }


def revision(root: Path) -> dict[str, str]:
    """`git describe` of the checkout, and nothing where this is none."""
    command = ["git", "-C", str(root), "describe", "--always", "--dirty", "--tags"]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=10)
    except (OSError, subprocess.SubprocessError):
        return {}
    return {"revision": done.stdout.strip()}
