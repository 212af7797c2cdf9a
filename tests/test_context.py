"""Placement, read from a machine that is made up of files."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

from bench import context

STATUS = "Name:\tpython\nCpus_allowed_list:\t0-3\nMems_allowed_list:\t0-1\n"


def write(path: Path, text: str) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)


def test_nodes_cores_and_what_is_allowed_are_read_as_the_kernel_tells_them(tmp_path: Path) -> None:
    system, status = tmp_path / "system", tmp_path / "status"
    for node, cpus in ((0, "0-1,4-5"), (1, "2-3,6-7")):
        write(system / f"node/node{node}/cpulist", f"{cpus}\n")
        write(system / f"node/node{node}/meminfo", f"Node {node} MemTotal:       2097152 kB\n")
    write(system / "node/online", "0-1\n")
    for cpu in range(8):
        siblings = f"{cpu % 4},{cpu % 4 + 4}\n"
        write(system / f"cpu/cpu{cpu}/topology/thread_siblings_list", siblings)
    write(system / "cpu/cpufreq/policy0", "none of ours\n")
    write(status, STATUS)
    assert context.placement(system, status) == {
        "numa": {
            "0": {"cpus": "0-1,4-5", "memory_mib": 2048},
            "1": {"cpus": "2-3,6-7", "memory_mib": 2048},
        },
        "smt_siblings": ["0,4", "1,5", "2,6", "3,7"],
        "allowed": {"cpus": "0-3", "nodes": "0-1"},
    }


def test_what_a_machine_does_not_tell_is_left_out(tmp_path: Path) -> None:
    write(tmp_path / "status", "Name:\tpython\n")
    found = context.placement(tmp_path / "system", tmp_path / "status")
    assert found == {"numa": {}, "smt_siblings": [], "allowed": {}}


def test_this_machine_has_a_placement_in_its_records() -> None:
    allowed = context.machine()["placement"]
    assert isinstance(allowed, dict) and allowed["allowed"]["cpus"]


def test_what_a_child_computed_is_our_own_time() -> None:
    before = context.noise()
    command = "import time\nwhile time.process_time() < 0.3: pass"
    subprocess.run([sys.executable, "-c", command], check=True)
    after = context.noise()
    own, busy = (after[name] - before[name] for name in ("own_s", "busy_s"))
    assert 0.25 <= own <= busy + 0.05  # both are told in ticks of 10 ms
