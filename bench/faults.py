"""Faults: how a service misbehaves and when, as data that is drawn once, recorded and replayed.

Probes draw a schedule, a platform hands it to whoever plays the service, and neither knows the
other. Times are seconds since the schedule was started.
"""

from __future__ import annotations

import json
import random
from collections.abc import Sequence
from dataclasses import asdict, dataclass
from itertools import pairwise

# latency: answers late. reset: the connection is cut. throttled: ThrottlingException (400).
# unavailable: KMSInternalException (500).
KINDS = ("latency", "reset", "throttled", "unavailable")
LATENCY_MS = (400.0, 900.0)


@dataclass(frozen=True, slots=True)
class Fault:
    """What every request between two moments meets; `latency_ms` is 0 but for latency."""

    kind: str
    begin_s: float
    end_s: float
    latency_ms: float = 0.0


def schedule(kind: str, seconds: float, chance: random.Random) -> tuple[Fault, ...]:
    """Half of `seconds` without a break, after an eighth to a quarter: the rest is recovery.

    Latency comes in four spikes of different heights, everything else in one piece.
    """
    begin = seconds * chance.uniform(0.125, 0.25)
    count = 4 if kind == "latency" else 1
    edges = [begin + seconds / 2 * step / count for step in range(count + 1)]
    return tuple(
        Fault(kind, start, end, chance.uniform(*LATENCY_MS) if kind == "latency" else 0.0)
        for start, end in pairwise(edges)
    )


def encode(start_s: float, faults: Sequence[Fault]) -> str:
    """One line that says when a schedule began, on the machine's monotonic clock."""
    return json.dumps([start_s, [asdict(fault) for fault in faults]])


def decode(line: str) -> tuple[float, Sequence[Fault]]:
    """What `encode` wrote."""
    start_s, faults = json.loads(line)
    return start_s, [Fault(**fault) for fault in faults]


def due(faults: Sequence[Fault], elapsed_s: float) -> Fault | None:
    """The fault of this moment."""
    return next((fault for fault in faults if fault.begin_s <= elapsed_s < fault.end_s), None)
