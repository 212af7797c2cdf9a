"""Where the tests of this folder find things, and engines that need no model."""

from __future__ import annotations

import os
import random
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from bench.peers.pipe import Seat, Worker
from bench.peers.rows import Asked, Stand

ROOT = Path(__file__).parents[2]
FIRST_CPU = sorted(os.sched_getaffinity(0))[:1]


def worker(side: str, engine: str, folder: Path) -> Worker:
    order = {"source": str(folder), "formats": str(folder)}
    return Worker(side, Path(sys.executable), engine, order, Seat(FIRST_CPU, ROOT, folder))


def echo_worker(side: str, folder: Path) -> Worker:
    return worker(side, "echo", folder)


def stand(asked: Sequence[Asked], workers: Mapping[str, Any], folder: Path, **sizes: int) -> Stand:
    """One boot of these workers, without pauses."""
    return Stand(
        boot=0,
        asked=asked,
        workers=workers,
        seat=Seat(FIRST_CPU, ROOT, folder),
        source=folder,
        text=lambda tokens: "a " * tokens,
        random=random.Random(1),
        pause=lambda: None,
        progress=lambda _: None,
        **{"blocks": 2, "warmup": 1} | sizes,
    )
