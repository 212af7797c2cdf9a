"""Requests over one session a side, side by side in mirrored blocks.

Hosts drift by a third within minutes, so the sides take turns request by request: in a block every
side answers the same text twice, once on the way there and once on the way back. Client-side times
go from the send to the authenticated answer; receipts are checked between blocks. Server-side
times come from the server's own report (signed, on the attested sides).
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator, Mapping

from bench.probes import ALL, Bed
from bench.records import Axes, Observation

METRICS = ("request_latency", "inference_latency", "request_stage", "first_request")
SERVERS = ALL
STAGED = ("plain", "enclave")  # whose requests are kept in stages


def run(bed: Bed) -> Iterator[Observation]:
    """Milliseconds; axis `tokens`, and `stage` for what a server says of the parts of a request."""
    asked: dict[str, list[Observation]] = {name: [] for name in bed.main}
    for name, talk in bed.main.items():
        talk.report()  # forget what came before
        elapsed_ms = _timed_ms(bed, name, bed.text(bed.workload.tokens[-1]))
        at = (("tokens", bed.workload.tokens[-1]),)
        first = Observation("first_request", name, bed.boot, 0, 0, elapsed_ms, at=at)
        asked[name].append(first)
        yield first
    counts: defaultdict[tuple[str, Axes], int] = defaultdict(int)
    for block in range(-bed.workload.warmup, bed.workload.blocks):
        bed.progress(f"block {max(block + 1, 0)}/{bed.workload.blocks}")
        for tokens in bed.random.sample(list(bed.workload.tokens), len(bed.workload.tokens)):
            text, at = bed.text(tokens), (("tokens", tokens),)
            for name in bed.mirrored(list(bed.main)):
                elapsed_ms = _timed_ms(bed, name, text)
                iteration = counts[name, at]
                counts[name, at] += 1
                found = Observation(
                    "request_latency", name, bed.boot, block, iteration, elapsed_ms, block < 0, at
                )
                asked[name].append(found)
                yield found
        for talk in bed.main.values():
            talk.settle()
    for name, talk in bed.main.items():
        yield from _served(asked[name], talk.report())


def _timed_ms(bed: Bed, name: str, text: str) -> float:
    talk = bed.main[name]
    start = bed.clock_ns()
    talk.request(text)
    return (bed.clock_ns() - start) / 1e6


def _served(asked: list[Observation], report: Mapping[str, object]) -> Iterator[Observation]:
    """The server's own times, request by request, in the order asked."""
    series = report["requests_ns"]
    if not isinstance(series, Mapping):
        raise TypeError(f"requests_ns is {type(series).__name__}, expected a map")
    for stage, values in series.items():
        if len(values) != len(asked):
            raise ValueError(f"{len(values)} times of {stage} for {len(asked)} requests")
        for request, elapsed_ns in zip(asked, values, strict=True):
            if request.metric != "request_latency":
                continue
            place = request.side, request.boot, request.block, request.iteration
            value, warmup = elapsed_ns / 1e6, request.warmup
            if stage == "inferred":
                yield Observation("inference_latency", *place, value, warmup, request.at)
            elif request.side in STAGED:
                at = (*request.at, ("stage", str(stage)))
                yield Observation("request_stage", *place, value, warmup, at)
