"""Sessions that come, ask once and go, for as long as it takes to see whether memory grows.

Both sides are churned in turns, so that what grows with anything that is alike in both shows in
both. Every sample is kept; what slope they have, and how sure that is, is left to the analysis.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.probes import Bed
from bench.probes.crowd import crowd
from bench.probes.load_memory import MIB, read
from bench.records import Observation

METRICS = ("churn_elapsed", "churn_rss", "churned_sessions")
SERVERS = ("plain", "enclave")
SAMPLES = 200
WARMUP = 0.2  # of the time: allocators and caches find their size


def run(bed: Bed) -> Iterator[Observation]:
    """Seconds and MiB of each sample (blocks number them), and how many sessions there were."""
    text = bed.text(bed.workload.tokens[0])
    seconds = bed.workload.churn_seconds
    bed.progress(f"sessions that come and go, for {seconds:g} s")
    begin_ns = bed.clock_ns()
    counts = dict.fromkeys(SERVERS, 0)
    with crowd(bed, "plain", 1, [text]) as plain, crowd(bed, "enclave", 1, [text]) as enclave:
        apart = {"plain": plain.talks[0], "enclave": enclave.talks[0]}
        for number in range(SAMPLES + 1):
            while bed.clock_ns() - begin_ns < seconds * 1e9 * number / SAMPLES:
                for name in bed.mirrored(SERVERS):
                    _churn(bed, name, text)
                    counts[name] += 1
            for name in SERVERS:
                elapsed_s = (bed.clock_ns() - begin_ns) / 1e9
                rss_mib = read(apart[name], "rss_bytes") / MIB
                place = name, bed.boot, number, number
                early = number < SAMPLES * WARMUP
                yield Observation("churn_elapsed", *place, elapsed_s, early)
                yield Observation("churn_rss", *place, rss_mib, early)
    for name, count in counts.items():
        yield Observation("churned_sessions", name, bed.boot, 0, 0, count)


def _churn(bed: Bed, name: str, text: str) -> None:
    talk = bed.sides[name].talk(kept=False)
    talk.request(text)
    talk.close()
