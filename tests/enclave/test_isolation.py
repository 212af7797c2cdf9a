"""The report from inside: what it says here, and how its facts are judged."""

from __future__ import annotations

import json
import os
import resource
import socket
import subprocess
import sys
from pathlib import Path

import pytest

from enclave.tee import isolation

REPOSITORY = Path(__file__).parents[2]

STRONGEST: dict[str, isolation.Fact] = {
    "net_interfaces": ["lo"],
    "net_routed": [],
    "tcp_out": False,
    "visible_pids": 2,
    "root_ro": True,
    "root_filesystem": "tmpfs",
    "host_files": [],
    "cap_eff": "0000000000000000",
    "no_new_privs": 1,
}

# What the kernel's tables look like with and without a network.
LO6 = f"{'0' * 32} 00 {'0' * 32} 00 {'0' * 32} ffffffff 00000001 00000000 00200200       lo\n"
ETH6 = LO6.replace("      lo", "    eth0")
HEADING = "Iface\tDestination\tGateway\n"
ETH4 = "eth0\t00000000\t010200C0\n"


def proc(tmp_path: Path, **files: str) -> Path:
    """A /proc with what the report reads."""
    defaults = {
        "self/status": "CapEff:\t0000000000000000\nCapBnd:\t0\nNoNewPrivs:\t1\nSeccomp:\t0\n",
        "self/mountinfo": "1 0 0:1 / / ro,nosuid - tmpfs tmpfs rw\n",
        "self/cgroup": "0::/\n",
        "net/dev": "Inter-|\n face |\n    lo: 0 0\n",
        "net/route": HEADING,
        "net/ipv6_route": LO6,
    }
    for name, text in (defaults | files).items():
        path = tmp_path / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
    return tmp_path


def test_a_report_is_plain_and_true_of_this_process() -> None:
    facts = isolation.report()
    assert json.loads(json.dumps(facts)) == facts
    assert facts["uid"] == os.getuid()
    assert facts["cpus"] == sorted(os.sched_getaffinity(0))
    assert facts["environment_variables"] == len(os.environ)
    assert facts["net_interfaces"] == sorted(name for _, name in socket.if_nameindex())
    assert facts["root_ro"] is bool(os.statvfs("/").f_flag & os.ST_RDONLY)


def test_limits_and_cpus_are_those_in_force() -> None:
    cpu = min(os.sched_getaffinity(0))
    code = "import json; from enclave.tee import isolation; print(json.dumps(isolation.report()))"
    ended = subprocess.run(
        ["prlimit", f"--data={512 << 20}", "taskset", "-c", str(cpu), sys.executable, "-c", code],
        env={"PYTHONPATH": str(REPOSITORY), "LC_ALL": "C"},
        capture_output=True,
        check=True,
    )
    facts = json.loads(ended.stdout)
    assert facts["rlimit_data_mib"] == 512
    assert facts["cpus"] == [cpu]
    assert facts["environment_variables"] == 2


def test_no_limit_is_minus_one() -> None:
    if resource.getrlimit(resource.RLIMIT_DATA)[0] != resource.RLIM_INFINITY:
        pytest.skip("this process has a limit on its data already")
    assert isolation.report()["rlimit_data_mib"] == -1


@pytest.mark.parametrize(
    ("change", "level"),
    [
        ({}, "bwrap"),
        ({"net_interfaces": ["lo", "tunl0"]}, "bwrap"),
        ({"root_filesystem": "ext4"}, "namespaces"),
        ({"host_files": ["/etc/passwd"]}, "namespaces"),
        ({"tcp_out": True}, "process"),
        ({"visible_pids": 90}, "process"),
        ({"root_ro": False}, "process"),
        ({"cap_eff": "00000000a80425fb"}, "process"),
        ({"no_new_privs": 0}, "process"),
    ],
)
def test_one_fact_decides_the_level(change: dict[str, isolation.Fact], level: str) -> None:
    assert isolation.judge(STRONGEST | change) == level


@pytest.mark.parametrize(
    ("files", "routed"),
    [
        ({}, []),
        ({"net/route": HEADING + ETH4}, ["eth0"]),
        ({"net/ipv6_route": LO6 + ETH6}, ["eth0"]),
        ({"net/route": HEADING + ETH4, "net/ipv6_route": ETH6}, ["eth0"]),
    ],
)
def test_a_network_is_seen_in_the_routes(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, files: dict[str, str], routed: list[str]
) -> None:
    monkeypatch.setattr(isolation, "PROC", proc(tmp_path, **files))
    facts = isolation.report()
    assert (facts["net_routed"], facts["tcp_out"]) == (routed, bool(routed))


def test_a_kernel_without_ipv6_has_no_table_of_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (proc(tmp_path) / "net" / "ipv6_route").unlink()
    monkeypatch.setattr(isolation, "PROC", tmp_path)
    assert isolation.report()["net_routed"] == []


def test_writable_is_where_files_can_be_made(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    odd = tmp_path / "a b"
    shut = tmp_path / "shut"
    odd.mkdir()
    shut.mkdir()
    escaped = str(odd).replace(" ", "\\040")
    rows = [
        "1 0 0:1 / / ro,nosuid - tmpfs tmpfs rw",
        f"2 1 0:2 / {escaped} rw,relatime shared:1 - ext4 /dev/sda rw",
        f"3 1 0:3 / {shut} rw - ext4 /dev/sda rw",
        f"4 3 0:4 / {shut} ro - ext4 /dev/sda rw",
        "5 1 0:5 / /proc rw - proc proc rw",
        "6 1 0:6 / /nowhere rw - tmpfs tmpfs rw",
    ]
    files = {"self/mountinfo": "\n".join(rows) + "\n"}
    monkeypatch.setattr(isolation, "PROC", proc(tmp_path, **files))
    facts = isolation.report()
    assert facts["writable"] == [str(odd)]
    assert facts["root_filesystem"] == "tmpfs"


@pytest.mark.parametrize(
    ("text", "mib"), [("max", -1), ("268435456", 256), ("9223372036854771712", -1)]
)
def test_memory_control_group(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str, mib: int
) -> None:
    (tmp_path / "limit").write_text(text + "\n")
    files = {"self/cgroup": "4:memory:/x\n0::/\n"}
    monkeypatch.setattr(isolation, "PROC", proc(tmp_path, **files))
    absolute = str(tmp_path / "limit")
    monkeypatch.setattr(isolation, "CGROUPS", (("memory", "/memory", absolute),))
    assert isolation.report()["cgroup_memory_mib"] == mib


def test_a_control_group_out_of_sight_is_left_out(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(isolation, "PROC", proc(tmp_path, **{"self/cgroup": "4:memory:/gone\n"}))
    assert "cgroup_memory_mib" not in isolation.report()
