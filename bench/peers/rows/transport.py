"""A round trip through the enclave's frames and deadlines / through a bare blocking echo."""

from __future__ import annotations

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
    """Milliseconds; axis `payload_bytes`, as many each way."""
    with ExitStack() as stack:
        exchange = {
            name: stack.enter_context(echo.connected(name, str(worker.facts["path"])))
            for name, worker in stand.workers.items()
        }
        yield from _trips(stand, exchange)


def _trips(stand: Stand, exchange: Mapping[str, Callable[[bytes], None]]) -> Iterator[Observation]:
    points = stand.points()
    for block in range(-stand.warmup, stand.blocks):
        for at in stand.random.sample(list(points), len(points)):
            payload = bytes(int(dict(at)["payload_bytes"]))
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
