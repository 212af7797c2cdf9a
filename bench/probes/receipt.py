"""Receipts: what it takes to issue one, what to check it, and how large it is."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.probes import Bed
from bench.records import Observation

METRICS = ("receipt_issue", "receipt_check", "receipt_size")
SERVERS = ("enclave",)


def run(bed: Bed) -> Iterator[Observation]:
    """Milliseconds and bytes. A receipt is checked by the client, apart from its request.

    Issuing is the enclave's own time from the model's output to the signed receipt, digests of
    request and answer included, out of its signed statement.
    """
    talk = bed.main["enclave"]
    if talk.evidence is None:
        raise ValueError("an enclave's session leaves no evidence")
    talk.report()  # forget what came before
    bed.progress("receipts")
    blocks = [n for n in range(-bed.workload.warmup, bed.workload.security_blocks) for _ in "ab"]
    for iteration, block in enumerate(blocks):
        talk.request(bed.text(bed.workload.tokens[0]))
        start = bed.clock_ns()
        talk.settle()
        elapsed_ms = (bed.clock_ns() - start) / 1e6
        place = "enclave", bed.boot, block, iteration
        yield Observation("receipt_check", *place, elapsed_ms, block < 0)
        yield Observation("receipt_size", *place, len(talk.evidence.receipts[-1]), block < 0)
    series = talk.report()["requests_ns"]
    if not isinstance(series, Mapping):
        raise TypeError(f"requests_ns is {type(series).__name__}, expected a map")
    for iteration, (block, signed_ns) in enumerate(zip(blocks, series["signed"], strict=True)):
        place = "enclave", bed.boot, block, iteration
        yield Observation("receipt_issue", *place, signed_ns / 1e6, block < 0)
