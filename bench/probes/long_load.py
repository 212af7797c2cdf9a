"""Long loads: many requests one after another over one channel, every receipt kept and checked."""

from __future__ import annotations

from collections.abc import Iterator

from bench.client.load import Closed
from bench.probes import Bed
from bench.probes.crowd import TEXTS, crowd, require_answers
from bench.records import Axes, Observation

METRICS = ("long_load_latency", "long_load_rate", "long_load_failures", "long_load_receipts")
SERVERS = ("plain", "enclave")


def run(bed: Bed) -> Iterator[Observation]:
    """Milliseconds, requests per second and counts; axes `requests`, and `tokens` of each.

    A session for each load; its first request is marked as a warm-up, and the rate counts all.
    """
    tokens = bed.workload.tokens[0]
    texts = [bed.text(tokens) for _ in range(TEXTS)]
    for requests in bed.workload.long_requests:
        bed.progress(f"{requests} requests over one channel")
        at: Axes = (("requests", requests), ("tokens", tokens))
        for name in bed.random.sample(SERVERS, len(SERVERS)):
            with crowd(bed, name, 1, texts) as asking:
                outcome = asking.run(Closed(requests))
            place = name, bed.boot, 0, 0
            yield Observation("long_load_failures", *place, len(outcome.failed), at=at)
            require_answers(outcome)
            yield Observation("long_load_rate", *place, outcome.per_second, at=at)
            if (evidence := asking.talks[0].evidence) is not None:
                kept = len(evidence.receipts)
                yield Observation("long_load_receipts", *place, kept, at=at)
            for answer in outcome.answered:
                number, elapsed_ms = answer.turn.number, answer.latency_ns / 1e6
                place = name, bed.boot, 0, number
                yield Observation("long_load_latency", *place, elapsed_ms, number == 0, at)
