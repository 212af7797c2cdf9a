"""Where the threads that compute run, seen from outside of a fresh process."""

from __future__ import annotations

import json
import os
import subprocess
import sys

import pytest

CODE = """
import json, os, threading
before = dict(os.environ)
from enclave.models.worker import Worker
import torch
worker = Worker(2)
square = torch.ones(512, 512)
worker.call(lambda: [torch.mm(square, square) for _ in range(5)])
found = []
late = threading.Thread(target=lambda: found.append(sorted(os.sched_getaffinity(0))))
late.start(); late.join()
tasks = [sorted(os.sched_getaffinity(int(task))) for task in os.listdir("/proc/self/task")]
print(json.dumps({"late": found[0], "tasks": tasks, "same": before == dict(os.environ)}))
"""


@pytest.mark.skipif(len(os.sched_getaffinity(0)) < 2, reason="two CPUs are needed")
def test_a_thread_of_a_pass_keeps_off_the_first_processor_and_others_go_anywhere() -> None:
    cpus = sorted(os.sched_getaffinity(0))
    done = subprocess.run([sys.executable, "-c", CODE], capture_output=True, text=True, check=True)
    found = json.loads(done.stdout)
    assert [cpus[1]] in found["tasks"]
    assert found["late"] == cpus
    assert found["same"]
