"""How latency grows with the length of a text: few blocks, at lengths chosen for a fit."""

from __future__ import annotations

import math
from collections.abc import Iterator

from bench.probes import Bed
from bench.probes.crowd import crowd
from bench.records import Observation

METRICS = ("scaling_latency",)
SERVERS = ("plain", "enclave")


def run(bed: Bed) -> Iterator[Observation]:
    """Milliseconds of a request; axis `tokens`; in mirrored blocks, lengths in random order."""
    lengths = list(bed.workload.scaling_tokens)
    warmup = math.ceil(bed.workload.warmup / 2)  # a block holds two requests a side
    bed.progress("input scaling")
    with crowd(bed, "plain", 1, ()) as plain, crowd(bed, "enclave", 1, ()) as enclave:
        talks = {"plain": plain.talks[0], "enclave": enclave.talks[0]}
        for block in range(-warmup, bed.workload.scaling_blocks):
            for tokens in bed.random.sample(lengths, len(lengths)):
                text, at = bed.text(tokens), (("tokens", tokens),)
                for position, name in enumerate(bed.mirrored(SERVERS)):
                    start_ns = bed.clock_ns()
                    talks[name].request(text)
                    elapsed_ms = (bed.clock_ns() - start_ns) / 1e6
                    iteration = 2 * (block + warmup) + int(position >= len(SERVERS))
                    place = name, bed.boot, block, iteration
                    yield Observation("scaling_latency", *place, elapsed_ms, block < 0, at)
            for talk in talks.values():
                talk.settle()
