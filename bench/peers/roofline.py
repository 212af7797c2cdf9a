"""The machine's own limits at this moment: fastest matrix product and fastest read from memory.

Williams, Waterman and Patterson, Roofline, CACM 52 (2009): no kernel takes less time than its
operations at the first rate or its bytes at the second. Both are measured among the engines, in
turn, because on a shared host they drift as the engines do.
"""

from __future__ import annotations

import json
import os
import platform
import time
from collections.abc import Callable
from dataclasses import dataclass
from importlib import metadata

import torch

from bench.peers import Message, Order

SIDE = 1024  # of the square product: compute-bound, and out of the second-level cache
READ_BYTES = 1 << 27  # more than any last-level cache here
TRIES = 3


@dataclass(frozen=True, slots=True)
class Roofline:
    """A product of the engine's kind of numbers; what is read is always float32."""

    threads: int
    dimensions: Message
    multiply: Callable[[], object]
    read: Callable[[], object]

    def facts(self) -> Message:
        """As the engines' facts."""
        return {
            "libraries": {"torch": metadata.version("torch")},
            "python": platform.python_version(),
            "cpus": sorted(os.sched_getaffinity(0)),
            "threads": self.threads,
            "settings": {"side": SIDE, "read_bytes": READ_BYTES, "tries": TRIES},
            "dimensions": dict(self.dimensions),
        }

    def answer(self, request: Message) -> Message:
        """`{operations_per_s, bytes_per_s}`, each the best of a few tries; `request` is ignored."""
        return {
            "operations_per_s": 2 * SIDE**3 / _least_s(self.multiply),
            "bytes_per_s": READ_BYTES / _least_s(self.read),
        }


def open(order: Order) -> Roofline:  # noqa: A001
    """Operands in memory, and one run of each to have them there."""
    torch.set_num_threads(order.threads)
    chance = torch.Generator().manual_seed(1)
    rows = torch.randn((READ_BYTES // 4 // 4096, 4096), generator=chance)
    vector = torch.randn(4096, generator=chance)

    def read() -> object:
        return torch.mv(rows, vector)

    dimensions = json.loads((order.source / "source.json").read_text())["config"]
    product = _product(order.precision, chance)
    roofline = Roofline(torch.get_num_threads(), dimensions, product, read)
    roofline.answer({})
    return roofline


def _product(precision: str, chance: torch.Generator) -> Callable[[], object]:
    if precision == "int8":
        left = torch.randint(-127, 128, (SIDE, SIDE), dtype=torch.int8, generator=chance)
        right = torch.randint(-127, 128, (SIDE, SIDE), dtype=torch.int8, generator=chance)
        return lambda: torch._int_mm(left, right)
    one = torch.randn((SIDE, SIDE), generator=chance)
    other = torch.randn((SIDE, SIDE), generator=chance)
    return lambda: torch.mm(one, other)


def _least_s(call: Callable[[], object]) -> float:
    times = []
    for _ in range(TRIES):
        start = time.perf_counter()
        call()
        times.append(time.perf_counter() - start)
    return min(times)
