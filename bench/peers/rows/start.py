"""Process start to first inference / importing torch alone; peak memory above torch's / weights.

Both processes get the same CPUs; the weights are sealed anew in each boot, with keys of their own,
and lie in the page cache.
"""

from __future__ import annotations

import secrets
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench.peers.pipe import Seat, WorkerError
from bench.peers.rows import Stand
from bench.records import Observation
from bench.weights import WEIGHTS, seal

METRICS = ("cold_start", "peak_above_torch")
STARTS = 6  # mirrored pairs of starts in each boot, at most
OURS, TORCH, WEIGHED = "sealed", "import_torch", "weights"
ALONE = (
    "import torch\n"
    "status = open('/proc/self/status').read().split()\n"
    "print(1024 * int(status[status.index('VmHWM:') + 1]), flush=True)"
)


@dataclass(frozen=True, slots=True)
class Started:
    """How long until a process was ready, and its peak memory by then."""

    elapsed_ms: float
    peak_mib: float


def engine(side: str) -> None:
    """Every process is a value here, and ends with it."""


def run(stand: Stand) -> Iterator[Observation]:
    """Milliseconds and MiB."""
    size_mib = (stand.source / WEIGHTS).stat().st_size / 2**20
    with tempfile.TemporaryDirectory(prefix="confbench-start-") as name:
        commands, given = _commands(Path(name), stand)
        for block in range(-1, min(stand.blocks, STARTS)):  # the first brings files into memory
            stand.progress(f"starts {max(block + 1, 0)}/{min(stand.blocks, STARTS)}")
            found: dict[str, list[Started]] = {OURS: [], TORCH: []}
            for side in stand.mirrored([OURS, TORCH]):
                found[side].append(_start(commands[side], given, stand.seat))
            for number, (ours, torch) in enumerate(zip(found[OURS], found[TORCH], strict=True)):
                place = (stand.boot, block, 2 * (block + 1) + number)
                above_mib = ours.peak_mib - torch.peak_mib
                for metric, side, value in (
                    ("cold_start", OURS, ours.elapsed_ms),
                    ("cold_start", TORCH, torch.elapsed_ms),
                    ("peak_above_torch", OURS, above_mib),
                    ("peak_above_torch", WEIGHED, size_mib),
                ):
                    yield Observation(metric, side, *place, value, block < 0)


def _commands(folder: Path, stand: Stand) -> tuple[dict[str, list[str]], str]:
    key, owner = secrets.token_bytes(32), Ed25519PrivateKey.generate()
    seal.seal(
        stand.source,
        folder,
        data_key=key,
        wrapped_key=bytes(1),
        key_arn="arn:aws:kms:eu-west-1:000000000000:key/none",
        owner=owner,
        nonce_prefix=secrets.token_bytes(7),
    )
    python, threads = [sys.executable, "-B"], str(stand.seat.threads)
    ours = [*python, "-m", "bench.peers.start", str(folder), threads]
    given = f"{key.hex()}\n{owner.public_key().public_bytes_raw().hex()}\n"
    return {OURS: ours, TORCH: [*python, "-c", ALONE]}, given


def _start(command: list[str], given: str, seat: Seat) -> Started:
    """Until the line that says it is done; what its end costs is not counted."""
    start = time.perf_counter()
    process = subprocess.Popen(
        ["taskset", "-c", ",".join(map(str, seat.cpus)), *command],
        cwd=seat.root,
        env=seat.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    with process:
        assert process.stdin and process.stdout
        process.stdin.write(given)
        process.stdin.flush()
        line = process.stdout.readline()
        elapsed_ms = (time.perf_counter() - start) * 1e3
    if process.returncode != 0 or not line:
        raise WorkerError(f"{' '.join(command[:4])}: ended with {process.returncode}")
    return Started(elapsed_ms, int(line) / 2**20)
