"""Coverage-guided fuzzing of what reads foreign bytes: `make fuzz [SECONDS=60] [TARGET=cbor]`.

A target is a module `fuzz_<name>` with `SEEDS`, inputs to start from, and `judge(data)`, which
returns for good data and data refused by the declared error, and raises for anything else. Targets
do not know atheris, so the ordinary tests run them too (test_targets.py).
"""

from __future__ import annotations

import importlib.util
import os
import re
import subprocess
import sys
import tempfile
from base64 import b64encode
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path

NAMES = sorted(path.stem.removeprefix("fuzz_") for path in Path(__file__).parent.glob("fuzz_*.py"))
HINT = "hint: it has wheels for CPython 3.11 to 3.13 on Linux x86-64; make fuzz installs it"
EXECUTED = re.compile(r"stat::number_of_executed_units: (\d+)")
COVERED = re.compile(r" cov: (\d+)")


def main(names: list[str], seconds: int) -> int:
    """Each target for so long in a process of its own, one a CPU; 1 if one found something."""
    with ThreadPoolExecutor(len(os.sched_getaffinity(0))) as pool:
        return max(pool.map(partial(fuzz, seconds=seconds), names))


def fuzz(name: str, *, seconds: int) -> int:
    """One target; its line, and its trace where it found something."""
    with tempfile.TemporaryDirectory(prefix="confbench-fuzz-") as folder:
        command = [sys.executable, "-m", __spec__.name, "--one", name, folder, str(seconds)]
        done = subprocess.run(
            command, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, check=False
        )
        found = [path for path in sorted(Path(folder).iterdir()) if path.is_file()]
        print(told(name, done.stdout, done.returncode, found), flush=True)
        return int(done.returncode != 0)


def told(name: str, output: str, code: int, found: list[Path]) -> str:
    """One line for a target that held; its trace and the input for one that did not."""
    executed, covered = EXECUTED.findall(output), COVERED.findall(output)
    runs = executed[-1] if executed else "an unknown number of"
    cover = covered[-1] if covered else "?"
    lines = [f"{name}: {runs} executions, coverage {cover}, {'held' if code == 0 else 'FAILED'}"]
    if code:
        lines.append(output[-6000:])
    lines += [f"{name}: {path.name}\n{b64encode(path.read_bytes()).decode()}" for path in found]
    return "\n".join(lines)


def one(name: str, folder: str, seconds: str) -> None:
    """Fuzz a target in this process, which ends with it."""
    import atheris  # type: ignore[import-not-found,import-untyped,unused-ignore]

    with atheris.instrument_imports(include=["enclave", "bench", "asn1crypto"]):
        target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    corpus = Path(folder) / "corpus"
    corpus.mkdir()
    for number, seed in enumerate(target.SEEDS):
        (corpus / str(number)).write_bytes(seed)
    longest = max(1024, *(2 * len(seed) for seed in target.SEEDS))
    options = ["print_final_stats=1", "timeout=10", "rss_limit_mb=2048", f"max_len={longest}"]
    options += [f"max_total_time={seconds}", f"artifact_prefix={folder}/"]
    atheris.Setup(["fuzz", *(f"-{option}" for option in options), str(corpus)], target.judge)
    atheris.Fuzz()


if __name__ == "__main__":
    if sys.argv[1] == "--one":
        one(*sys.argv[2:])
    seconds, chosen = sys.argv[1:]
    if chosen not in (*NAMES, "all"):
        sys.exit(f"error: no target {chosen!r}\nhint: one of {', '.join(NAMES)}, or all")
    if importlib.util.find_spec("atheris") is None:
        sys.exit(f"error: atheris is not installed here, nothing was fuzzed\n{HINT}")
    sys.exit(main(NAMES if chosen == "all" else [chosen], int(seconds)))
