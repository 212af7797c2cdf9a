"""The largest model that an enclave's memory holds: a ladder of models, one layer a rung.

Rungs are doubled until one does not load, then halved in between. Each is sealed on the spot and
started in an enclave of its own, which either answers once or says that its memory is used up. Time
is limited; what is left between the largest that loaded and the smallest that did not is how finely
the limit is known.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.probes import Bed
from bench.records import Observation

METRICS = ("memory_limit", "memory_refused", "memory_given")
SERVERS = ("enclave",)
ENDS_SERVERS = True
SIDE = "enclave"
MIB_A_LAYER = 48  # as platforms make them
EXHAUSTED = "out of memory"


def run(bed: Bed) -> Iterator[Observation]:
    """MiB: weights that loaded, weights that did not, and what the enclave was given."""
    given_mib = bed.workload.ladder_memory_mib
    end_ns = bed.clock_ns() + round(bed.workload.ladder_seconds * 1e9)
    sizes_mib: dict[int, float] = {}
    low, high = 0, 0  # layers that loaded, and that did not; 0: none was tried
    layers = max(1, given_mib // MIB_A_LAYER // 4)
    while layers not in sizes_mib and (not (low and high) or bed.clock_ns() < end_ns):
        bed.progress(f"a model of {layers} layers in {given_mib} MiB")
        weights_bytes, reason = bed.trial(layers, given_mib)
        sizes_mib[layers] = weights_bytes / 2**20
        if reason and EXHAUSTED not in reason:
            raise ValueError(f"a model of {layers} layers was refused: {reason}")
        low, high = (low, layers) if reason else (layers, high)
        layers = max(1, (low + high) // 2) if high else 2 * low
    for metric, found in (("memory_limit", low), ("memory_refused", high)):
        if found:
            yield Observation(metric, SIDE, bed.boot, 0, 0, sizes_mib[found])
    yield Observation("memory_given", SIDE, bed.boot, 0, 0, given_mib)
