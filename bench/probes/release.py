"""Release of the model's key: once a boot inside, and as often as a p99 needs outside.

An enclave has its key released once, when it boots, and there is no request that makes it do so
again: a p99 of that would take hundreds of boots. So the same code is also run on the parent, over
a relay and against a key service of the same kinds, with documents of an emulated security module.
That is called `bare`: it says what the path takes, not what isolation adds to it.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.probes import Bed
from bench.records import Observation

METRICS = ("key_release", "repeated_key_release")
SERVERS = ("bare", "enclave")
STAGE = "key_release"


def run(bed: Bed) -> Iterator[Observation]:
    """Milliseconds: from the attested key to the data key in plain, keypair and document apart."""
    for name in SERVERS:
        rows = bed.main[name].report()["boot_ns"]
        if not isinstance(rows, list):
            raise TypeError(f"boot_ns is {type(rows).__name__}, expected rows of stage and time")
        elapsed_ms = next(row[1] for row in rows if row[0] == STAGE) / 1e6
        yield Observation("key_release", name, bed.boot, 0, 0, elapsed_ms)
    bed.progress("key releases")
    blocks = [n for n in range(-bed.workload.warmup, bed.workload.security_blocks) for _ in "ab"]
    with bed.releases() as attest:
        for iteration, block in enumerate(blocks):
            release = attest()
            start = bed.clock_ns()
            release()
            elapsed_ms = (bed.clock_ns() - start) / 1e6
            place = "bare", bed.boot, block, iteration
            yield Observation("repeated_key_release", *place, elapsed_ms, block < 0)
