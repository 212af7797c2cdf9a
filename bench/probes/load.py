"""Throughput of N sessions that each ask again as soon as they are answered (closed loop)."""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor

from bench.probes import ALL, Bed, Talk
from bench.records import Observation

METRICS = ("throughput",)
SERVERS = ALL


def run(bed: Bed) -> Iterator[Observation]:
    """Requests per second; axis `sessions`; two runs a boot and side, in mirrored order."""
    tokens = bed.workload.tokens[-1]
    texts = [bed.text(tokens) for _ in range(8)]
    names = list(bed.main)
    for sessions in bed.workload.sessions:
        bed.progress(f"throughput of {sessions} sessions")
        for position, name in enumerate(bed.mirrored(names)):
            talks = [bed.sides[name].talk() for _ in range(sessions)]
            per_second = _requests_per_second(bed, talks, texts)
            for talk in talks:
                talk.settle()
                talk.close()
            at = (("sessions", sessions),)
            run_number = int(position >= len(names))
            yield Observation("throughput", name, bed.boot, 0, run_number, per_second, at=at)


def _requests_per_second(bed: Bed, talks: list[Talk], texts: list[str]) -> float:
    each = max(1, bed.workload.load_requests // len(talks))

    def ask(talk: Talk) -> None:
        for number in range(each):
            talk.request(texts[number % len(texts)])

    with ThreadPoolExecutor(len(talks)) as pool:
        start = bed.clock_ns()
        for finished in [pool.submit(ask, talk) for talk in talks]:
            finished.result()
        return each * len(talks) / ((bed.clock_ns() - start) / 1e9)
