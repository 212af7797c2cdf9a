"""Memory of a server while sessions ask it: resident now, and at most since it started.

A peak (VmHWM) never comes down, so it stands at the number of sessions that there had been at most,
and the start of a server may have set it. What sessions take shows in what is resident while they
ask, which a session of its own has the server read. Their numbers only grow, and the catalogue has
this probe run before others of its tier: memory that was used once is not all given back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import cycle

from bench.probes import Bed, Talk
from bench.probes.crowd import crowd
from bench.records import Observation

METRICS = ("memory_under_load", "peak_under_load")
SERVERS = ("plain", "enclave")
SAMPLE_NS = 20_000_000
TEXTS = 8
MIB = 2**20


def run(bed: Bed) -> Iterator[Observation]:
    """MiB; axis `sessions`: the highest of many samples, and VmHWM after them."""
    texts = [bed.text(bed.workload.tokens[-1]) for _ in range(TEXTS)]
    for sessions in sorted(bed.workload.stress_sessions):
        bed.progress(f"memory under {sessions} sessions")
        for name in bed.random.sample(SERVERS, len(SERVERS)):
            at = (("sessions", sessions),)
            with crowd(bed, name, sessions, texts) as loading, crowd(bed, name, 1, texts) as apart:
                seen = _sampled(bed, loading.talks, apart.talks[0], texts)
                peak_bytes = read(apart.talks[0], "peak_rss_bytes")
            place = name, bed.boot, 0, 0
            yield Observation("memory_under_load", *place, max(seen) / MIB, at=at)
            yield Observation("peak_under_load", *place, peak_bytes / MIB, at=at)


def read(talk: Talk, field: str) -> int:
    """A number of bytes that the server reports of itself."""
    found = talk.report()[field]
    if not isinstance(found, int):
        raise TypeError(f"{field} is {found!r}, expected an integer")
    return found


def _sampled(bed: Bed, talks: Sequence[Talk], apart: Talk, texts: Sequence[str]) -> list[int]:
    """What was resident, again and again, while every session asked as fast as it was answered."""
    end_ns = bed.clock_ns() + round(bed.workload.stress_seconds * 1e9)
    with ThreadPoolExecutor(len(talks)) as pool:
        asking = [pool.submit(_ask, bed, talk, texts, end_ns) for talk in talks]
        seen = [read(apart, "rss_bytes")]
        while not all(map(Future.done, asking)):
            bed.wait_until_ns(bed.clock_ns() + SAMPLE_NS)
            seen.append(read(apart, "rss_bytes"))
        for asked in asking:
            asked.result()
    return seen


def _ask(bed: Bed, talk: Talk, texts: Sequence[str], end_ns: int) -> None:
    for text in cycle(texts):
        talk.request(text)
        if bed.clock_ns() >= end_ns:
            return
