"""Saturation: the highest rate at which tails stay within twice what they are without load.

A side's limit is twice its own p99 of requests that come alone. A rate is kept where so many
Poisson arrivals in a row stay within the limit that its p99 does too, with 95 % confidence: none of
299 beyond it, as 0.99^299 < 0.05. Rates are tried from above the capacity downwards, in equal steps
that are the resolution; the capacity is `plain`'s in a closed loop of the same boot, so that all
sides are tried at the same rates. Coming from above, a rate that is too high ends at its first late
answer.
"""

from __future__ import annotations

import math
import random
from collections.abc import Generator, Iterator, Mapping

from bench.client.load import Answered, Open, arrivals
from bench.probes import Bed
from bench.probes.crowd import TEXTS, Crowd, capacity, crowd, require_answers
from bench.records import Axes, Observation

METRICS = (
    "saturation_throughput",
    "saturation_resolution",
    "saturation_latency",
    "saturation_seed",
    "unloaded_latency",
)
SERVERS = ("plain", "enclave")
CONFIDENCE = 0.95
WARMUP = 20  # arrivals until a queue is what it is at a rate; they are not judged
PATIENCE_NS = 5_000_000_000
CAPACITY_REQUESTS = 100
FIRST = 1.25  # times the capacity: no rate that could be kept
DEGRADED = 2.0  # times the unloaded quantile, as the specification has it


def run(bed: Bed) -> Iterator[Observation]:
    """Requests per second, and milliseconds since the intended time.

    Axes: `quantile`, and `load` of the requests sent: their rate as a share of the capacity. With
    the shortest texts of the workload. ValueError where no rate was kept in time.
    """
    texts = [bed.text(bed.workload.tokens[0]) for _ in range(TEXTS)]
    sessions = bed.workload.load_sessions
    with (
        crowd(bed, "plain", sessions, texts) as plain,
        crowd(bed, "enclave", sessions, texts) as enclave,
    ):
        crowds = {"plain": plain, "enclave": enclave}
        limits_ms = yield from _unloaded(bed, crowds)
        bed.progress("saturation: capacity")
        most = capacity(plain, CAPACITY_REQUESTS)
        yield from _down(bed, crowds, most, limits_ms)


def needed(quantile: float) -> int:
    """Values without one beyond a limit that say with 95 % confidence that the quantile is not."""
    return math.ceil(math.log(1 - CONFIDENCE) / math.log(quantile))


def _needed(bed: Bed) -> int:
    return needed(bed.workload.saturation_quantile)


def _at(bed: Bed) -> Axes:
    return (("quantile", bed.workload.saturation_quantile),)


def _unloaded(
    bed: Bed, crowds: Mapping[str, Crowd]
) -> Generator[Observation, None, dict[str, float]]:
    """Requests that come alone, in mirrored blocks, and the limit in ms that follows for a side."""
    bed.progress("saturation: without load")
    found: dict[str, list[float]] = {name: [] for name in SERVERS}
    for block in range(-bed.workload.warmup, math.ceil(_needed(bed) / 2)):
        for position, name in enumerate(bed.mirrored(SERVERS)):
            elapsed_ms = crowds[name].one(block)
            iteration = 2 * (block + bed.workload.warmup) + int(position >= len(SERVERS))
            place = name, bed.boot, block, iteration
            yield Observation("unloaded_latency", *place, elapsed_ms, block < 0)
            if block >= 0:
                found[name].append(elapsed_ms)
    quantile = bed.workload.saturation_quantile
    return {
        name: DEGRADED * sorted(values)[math.ceil(quantile * len(values)) - 1]
        for name, values in found.items()
    }


def _down(
    bed: Bed, crowds: Mapping[str, Crowd], most: float, limits_ms: Mapping[str, float]
) -> Iterator[Observation]:
    """From above the capacity downwards until every side has kept a rate."""
    steps, left = bed.workload.saturation_steps, list(SERVERS)
    end_ns = bed.clock_ns() + round(bed.workload.saturation_seconds * 1e9)
    for step in range(steps, 0, -1):
        load = FIRST * step / steps
        bed.progress(f"saturation: {load:.0%} of {most:.0f} requests/s")
        for name in bed.random.sample(left, len(left)):
            if bed.clock_ns() > end_ns:
                seconds = bed.workload.saturation_seconds
                raise ValueError(f"{name} kept no rate above {load:.0%} within {seconds} s")
            if (yield from _kept(bed, crowds[name], name, load, load * most, limits_ms[name])):
                if step == steps:
                    raise ValueError(f"{name} kept {load:.0%} of {most:.0f} requests/s: disturbed")
                place = name, bed.boot, 0, 0
                yield Observation("saturation_throughput", *place, load * most, at=_at(bed))
                resolution = FIRST / steps * most
                yield Observation("saturation_resolution", *place, resolution, at=_at(bed))
                left.remove(name)
        if not left:
            return
    raise ValueError(f"{' and '.join(left)} kept not even {load:.0%} of {most:.0f} requests/s")


def _kept(
    bed: Bed,
    asking: Crowd,
    name: str,
    load: float,
    per_second: float,
    limit_ms: float,
) -> Generator[Observation, None, bool]:
    """Whether enough arrivals in a row stay within the limit; ends with the first that does not."""
    seed, count = bed.random.getrandbits(32), WARMUP + _needed(bed)
    turns = Open(arrivals("poisson", per_second, count, random.Random(seed)), PATIENCE_NS)

    def heard(answer: Answered) -> None:
        if answer.turn.number >= WARMUP and answer.latency_ns > limit_ms * 1e6:
            turns.stop()

    outcome = asking.run(turns, heard)
    require_answers(outcome)
    at = (*_at(bed), ("load", load))
    yield Observation("saturation_seed", name, bed.boot, 0, 0, seed, at=at)
    for answer in outcome.answered:
        number, elapsed_ms = answer.turn.number, answer.latency_ns / 1e6
        place = name, bed.boot, 0, number
        yield Observation("saturation_latency", *place, elapsed_ms, number < WARMUP, at)
    return not turns.stopped and not turns.dropped
