"""A round trip through the enclave's frames and deadlines / through a bare blocking echo.

Where the two ends run decides more than what they do: on one CPU a trip takes microseconds, between
two that sleep it waits for both to wake. So that is fixed, and both are measured (axis `cpus`).
"""

from __future__ import annotations

import os
import time
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack

from bench.peers import echo
from bench.peers.rows import Stand
from bench.records import Observation

METRICS = ("round_trip",)
TRIPS = 20  # in a row at each position; a block holds all of them


def engine(side: str) -> str:
    """One process a side."""
    return "echo"


def run(stand: Stand) -> Iterator[Observation]:
    """Milliseconds; axes `payload_bytes`, as many each way, and `cpus`, that the ends share."""
    own = os.sched_getaffinity(0)
    with ExitStack() as stack:
        exchange = {
            name: stack.enter_context(echo.connected(name, str(worker.facts["path"])))
            for name, worker in stand.workers.items()
        }
        stack.callback(os.sched_setaffinity, 0, own)
        os.sched_setaffinity(0, stand.seat.cpus[:1])
        yield from _trips(stand, exchange)


def _trips(stand: Stand, exchange: Mapping[str, Callable[[bytes], None]]) -> Iterator[Observation]:
    fitting = len(stand.seat.cpus)
    points = {at: sides for at, sides in stand.points().items() if int(dict(at)["cpus"]) <= fitting}
    for block in range(-stand.warmup, stand.blocks):
        for at in stand.random.sample(list(points), len(points)):
            payload = bytes(int(dict(at)["payload_bytes"]))
            cpu = stand.seat.cpus[int(dict(at)["cpus"]) - 1]
            for worker in stand.workers.values():
                worker.ask(cpu=cpu)
            for position, name in enumerate(stand.mirrored(points[at])):
                second = int(position >= len(points[at]))
                for trip in range(TRIPS):
                    start = time.perf_counter_ns()
                    exchange[name](payload)
                    value = (time.perf_counter_ns() - start) / 1e6
                    iteration = (2 * (block + stand.warmup) + second) * TRIPS + trip
                    yield Observation(
                        "round_trip", name, stand.boot, block, iteration, value, block < 0, at
                    )
