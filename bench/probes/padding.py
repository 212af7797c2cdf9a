"""Answers of a size that says less: what rounding it up costs in time and in bytes.

An enclave that pads stands beside one that does not; the two take turns on the same texts in
mirrored blocks, so that every size has its own reference. The texts are the shortest of the
workload, where a fixed cost weighs most.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.probes import PADDED, Bed, padded
from bench.records import Observation
from enclave.wire.frames import HEADER

METRICS = ("padded_latency", "answer_size")
SERVERS = ("enclave", PADDED)


def run(bed: Bed) -> Iterator[Observation]:
    """Milliseconds of a request and bytes of its answer's frame; axes `tokens`, `bucket_bytes`."""
    tokens = bed.workload.tokens[0]
    for bucket_bytes in bed.workload.padding:
        bed.progress(f"answers padded to multiples of {bucket_bytes} B")
        at = (("tokens", tokens), ("bucket_bytes", bucket_bytes))
        paces: dict[str, list[int]] = {name: [] for name in SERVERS}
        sides = {"enclave": bed.sides["enclave"], PADDED: bed.sides[padded(bucket_bytes)]}
        talks = {name: side.talk(pace=paces[name].append) for name, side in sides.items()}
        for block in range(-bed.workload.warmup, bed.workload.security_blocks):
            text = bed.text(tokens)
            for position, name in enumerate(bed.mirrored(SERVERS)):
                start = bed.clock_ns()
                talks[name].request(text)
                elapsed_ms = (bed.clock_ns() - start) / 1e6
                iteration = 2 * (block + bed.workload.warmup) + int(position >= len(SERVERS))
                place = name, bed.boot, block, iteration
                yield Observation("padded_latency", *place, elapsed_ms, block < 0, at)
                answer_bytes = HEADER.size + paces[name][-1]
                yield Observation("answer_size", *place, answer_bytes, block < 0, at)
            for talk in talks.values():
                talk.settle()
        parity = [talk.report()["parity"] for talk in talks.values()]
        if parity[0] != parity[1]:
            raise ValueError(f"not alike but for padding: {parity[0]}, {parity[1]}")
        for talk in talks.values():
            talk.close()
