"""Throughput of N sessions that each ask again as soon as they are answered (closed loop)."""

from __future__ import annotations

from collections.abc import Iterator

from bench.probes import ALL, Bed
from bench.probes.crowd import TEXTS, capacity, crowd
from bench.records import Observation

METRICS = ("throughput",)
SERVERS = ALL


def run(bed: Bed) -> Iterator[Observation]:
    """Requests per second; axis `sessions`; two runs a boot and side, in mirrored order."""
    tokens = bed.workload.tokens[-1]
    texts = [bed.text(tokens) for _ in range(TEXTS)]
    names = list(bed.main)
    for sessions in bed.workload.sessions:
        bed.progress(f"throughput of {sessions} sessions")
        at = (("sessions", sessions),)
        for position, name in enumerate(bed.mirrored(names)):
            with crowd(bed, name, sessions, texts) as asking:
                per_second = capacity(asking, max(bed.workload.load_requests, sessions))
            run_number = int(position >= len(names))
            yield Observation("throughput", name, bed.boot, 0, run_number, per_second, at=at)
