"""What isolation this process finds itself in: measured from inside, believed from nobody.

Nothing is tried out: no connection is attempted (at a weak level there is a real network), what can
be reached is read from the kernel's tables. A report is evidence about an emulation; on hardware
the attestation document says more.
"""

from __future__ import annotations

import os
import resource
from pathlib import Path

PROC = Path("/proc")
HOST_FILES = (Path("/etc/passwd"), Path("/etc/os-release"))  # every host has one, no built root
MOST_OWN_PIDS = 8  # in process numbers of one's own: an init, ourselves, what we start
STATELESS = {"proc", "sysfs", "devpts", "mqueue", "cgroup", "cgroup2", "securityfs", "debugfs"}
NO_CAPABILITIES = "0" * 16
UNLIMITED = -1
UNLIMITED_FROM = 1 << 60  # how version 1 of control groups says it
# (controller, where its tree begins, its file): version 1, version 2
CGROUPS = (("memory", "/memory", "memory.limit_in_bytes"), ("", "", "memory.max"))
MIB = 1024 * 1024

Fact = str | int | bool | list[str] | list[int]


def report() -> dict[str, Fact]:
    """Facts, and under `level` what they amount to: bwrap, namespaces or process.

    Sizes are in MiB, -1 where there is no limit; a fact that cannot be read is absent.
    """
    status = _status()
    root = os.statvfs("/")
    routed = _routed_interfaces()
    facts: dict[str, Fact] = {
        "net_interfaces": _interfaces(),
        "net_routed": routed,
        "tcp_out": bool(routed),
        "visible_pids": sum(path.name.isdigit() for path in PROC.iterdir()),
        "root_ro": bool(root.f_flag & os.ST_RDONLY),
        "root_filesystem": _root_filesystem(),
        "host_files": [str(path) for path in HOST_FILES if path.exists()],
        "writable": _writable(),
        "cap_eff": status["CapEff"],
        "cap_bnd": status["CapBnd"],
        "no_new_privs": int(status["NoNewPrivs"]),
        "seccomp": int(status["Seccomp"]),
        "rlimit_data_mib": _limit_mib(resource.RLIMIT_DATA),
        "cpus": sorted(os.sched_getaffinity(0)),
        "environment_variables": len(os.environ),
        "uid": os.getuid(),
    }
    facts |= _memory_cgroup()
    return facts | {"level": judge(facts)}


def judge(facts: dict[str, Fact]) -> str:
    """The level that these facts amount to; where one of them fails it is process."""
    isolated = (
        facts["tcp_out"] is False
        and facts["visible_pids"] in range(MOST_OWN_PIDS + 1)
        and facts["root_ro"] is True
        and facts["cap_eff"] == NO_CAPABILITIES
        and facts["no_new_privs"] == 1
    )
    if not isolated:
        return "process"
    built_root = facts["root_filesystem"] == "tmpfs" and facts["host_files"] == []
    return "bwrap" if built_root else "namespaces"


def _status() -> dict[str, str]:
    lines = (PROC / "self" / "status").read_text().splitlines()
    return {name: value.strip() for name, _, value in (line.partition(":") for line in lines)}


def _interfaces() -> list[str]:
    lines = (PROC / "net" / "dev").read_text().splitlines()[2:]  # two lines of headings
    return sorted(line.partition(":")[0].strip() for line in lines)


def _routed_interfaces() -> list[str]:
    """Interfaces but for loopback that packets to anywhere would leave by, IPv4 or IPv6."""
    found = set()
    for table, column in (("route", 0), ("ipv6_route", -1)):
        path = PROC / "net" / table
        if path.exists():  # no IPv6, no table
            rows = (line.split() for line in path.read_text().splitlines())
            found |= {row[column] for row in rows if row}
    return sorted(found - {"lo", "Iface"})


def _mounts() -> list[tuple[str, str, str]]:
    """(Mount point, options, file system type) of every mount, in mounting order."""
    mounts = []
    for line in (PROC / "self" / "mountinfo").read_text().splitlines():
        mount, _, filesystem = line.partition(" - ")
        point, options = mount.split()[4:6]
        plain = point.encode("ascii", "replace").decode("unicode_escape")  # \040 is a space
        mounts.append((plain, options, filesystem.split()[0]))
    return mounts


def _root_filesystem() -> str:
    return [kind for point, _, kind in _mounts() if point == "/"][-1]


def _writable() -> list[str]:
    """Folders where a writable file system is mounted and this user may make files."""
    mounts = {point: (options, kind) for point, options, kind in _mounts()}  # the topmost of each
    return sorted(
        point
        for point, (options, kind) in mounts.items()
        if "rw" in options.split(",")
        and kind not in STATELESS
        and Path(point).is_dir()
        and os.access(point, os.W_OK)
    )


def _memory_cgroup() -> dict[str, Fact]:
    """The memory controller's limit, where its file can be seen from here."""
    for line in (PROC / "self" / "cgroup").read_text().splitlines():
        _, controllers, place = line.split(":", 2)
        for mine, folder, name in CGROUPS:
            path = Path(f"/sys/fs/cgroup{folder}{place}", name)
            if mine in controllers.split(",") and path.is_file():
                return {"cgroup_memory_mib": _mib(path.read_text().strip())}
    return {}


def _mib(text: str) -> int:
    limited = text != "max" and int(text) < UNLIMITED_FROM
    return int(text) // MIB if limited else UNLIMITED


def _limit_mib(which: int) -> int:
    soft, _ = resource.getrlimit(which)
    return UNLIMITED if soft == resource.RLIM_INFINITY else soft // MIB
