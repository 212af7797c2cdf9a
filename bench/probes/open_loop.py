"""Latency at a given rate (open loop): arrivals that wait for nobody, at shares of a capacity.

What `plain` answers in a closed loop of the same boot is the capacity; shares of it are rates, the
same for every side, and both sides are sent the very same arrivals. They follow from a seed that
stands in the records beside the rate, once for both, as `plain`'s. Arrivals while the rate still
rises are warm-ups.
"""

from __future__ import annotations

import random
from bisect import bisect_right
from collections.abc import Iterator, Mapping

from bench.client.load import Open, arrivals
from bench.probes import Bed
from bench.probes.crowd import TEXTS, Crowd, capacity, crowd, require_answers
from bench.records import Axes, Observation

METRICS = (
    "open_loop_latency",
    "open_loop_wait",
    "open_loop_rate",
    "open_loop_seed",
    "goodput",
    "lost_requests",
)
SERVERS = ("plain", "enclave")
RAMP = 0.2  # of a run's time
PATIENCE_NS = 5_000_000_000  # after that a request that nobody could send is dropped


def run(bed: Bed) -> Iterator[Observation]:
    """Milliseconds since the intended time, requests per second and per cent within the SLO.

    Axes: `arrivals`, and `load`, a share of the capacity. Two runs a boot and side, in mirrored
    order, with the shortest texts of the workload, where a fixed cost weighs most.
    """
    load = bed.workload
    texts = [bed.text(load.tokens[0]) for _ in range(TEXTS)]
    bed.progress("open loop")
    with (
        crowd(bed, "plain", load.load_sessions, texts) as plain,
        crowd(bed, "enclave", load.load_sessions, texts) as enclave,
    ):
        crowds = {"plain": plain, "enclave": enclave}
        for asking in crowds.values():
            capacity(asking, load.load_requests)  # warms up
        most = capacity(plain, load.load_requests)
        for kind in load.arrivals:
            for share in load.loads:
                yield from _point(bed, crowds, kind, share, share * most)


def _point(
    bed: Bed, crowds: Mapping[str, Crowd], kind: str, share: float, per_second: float
) -> Iterator[Observation]:
    at: Axes = (("arrivals", kind), ("load", share))
    seconds, seed = bed.workload.load_seconds, bed.random.getrandbits(32)
    count = max(round(per_second * seconds), 2)
    due_ns = arrivals(kind, per_second, count, random.Random(seed), RAMP * seconds)
    first = bisect_right(due_ns, round(RAMP * seconds * 1e9), hi=count - 1)
    yield Observation("open_loop_rate", "plain", bed.boot, 0, 0, per_second, at=at)
    yield Observation("open_loop_seed", "plain", bed.boot, 0, 0, seed, at=at)
    for position, name in enumerate(bed.mirrored(SERVERS)):
        turns = Open(due_ns, PATIENCE_NS)
        outcome = crowds[name].run(turns)
        run_number = int(position >= len(SERVERS))
        place = name, bed.boot, 0, run_number
        lost = len(turns.dropped) + len(outcome.failed)
        yield Observation("lost_requests", *place, lost, at=at)
        require_answers(outcome)
        kept = sum(
            answer.turn.number >= first and answer.latency_ns <= bed.workload.slo_ms * 1e6
            for answer in outcome.answered
        )
        yield Observation("goodput", *place, 100 * kept / (count - first), at=at)
        for answer in outcome.answered:
            number = answer.turn.number
            place = name, bed.boot, 0, run_number * count + number
            for metric, elapsed_ns in (
                ("open_loop_latency", answer.latency_ns),
                ("open_loop_wait", answer.waited_ns),
            ):
                yield Observation(metric, *place, elapsed_ns / 1e6, number < first, at)
