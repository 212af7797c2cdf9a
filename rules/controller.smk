# The process that drives a run: one to a folder, gone with the make that started it, and no job
# outlives it, even where it is killed without a word.
import fcntl
import json
import os
import shutil
import signal
from ctypes import CDLL
from pathlib import Path

from snakemake.exceptions import WorkflowError

PR_SET_PDEATHSIG = 1
HELD = []  # closing a lock lets go of it


def hold_lock(path=Path(".snakemake/confbench.lock")):
    """Refuse a second run beside this one. The kernel lets go of the lock however a run ends, so
    none is ever left behind (Snakemake's own is switched off in profiles/default)."""
    path.parent.mkdir(exist_ok=True)
    held = path.open("a+")
    try:
        fcntl.flock(held, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        held.seek(0)
        raise WorkflowError(
            f"another run is alive in this folder (process {held.read().strip() or 'unknown'})\n"
            "hint: wait for it or stop it; both would write the same files"
        ) from None
    held.truncate(0)
    print(os.getpid(), file=held, flush=True)
    return held


def die_with_parent():
    """Have the kernel end this process when `make` dies, however it dies."""
    parent = os.getppid()
    CDLL(None).prctl(PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os.kill(os.getpid(), signal.SIGKILL)


if workflow.is_main_process:
    os.environ.update(CONFBENCH_CONTROLLER=str(os.getpid()))
    if "MAKELEVEL" in os.environ:
        die_with_parent()
    # A job never outlives the run that started it.
    if shutil.which("setpriv"):
        shell.prefix("set -euo pipefail; exec setpriv --pdeathsig KILL -- ")


def write_waiting(jobs, path=Path(".snakemake/confbench.waiting.json")):
    """What is still to be measured: a job tells from it how long the whole run takes yet. It is
    neither an input nor a parameter of anything."""
    rows = [(job.output.records, job.params.job) for job in jobs]
    names = ("model", "tier", "boots")
    waiting = [
        {"records": records} | {name: row[name] for name in names}
        for records, row in rows
    ]
    path.write_text(json.dumps(waiting))


onstart:
    HELD.append(hold_lock())
    write_waiting(
        job
        for job in workflow.dag.needrun_jobs()
        if job.rule.name == "measure_tier"
    )
