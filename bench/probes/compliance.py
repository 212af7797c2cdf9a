"""Compliance bundles: what it takes to collect one, to check it, and how large it is.

The bundle is of the sessions that this boot has kept so far, so it runs after the others.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from bench.probes import Bed
from bench.records import Observation
from bench.verify.compliance import Anchors, Result, verdict

METRICS = ("compliance_collect", "compliance_check", "compliance_size")
SERVERS = ("enclave",)
NEEDS = ("handshake", "receipt", "padding")
COUNT = 3  # a boot, after one that warms up


def run(bed: Bed) -> Iterator[Observation]:
    """Milliseconds and bytes; axes `sessions` and `receipts` say what the bundle holds."""
    digest = sha256(b"no records yet").digest()
    bed.main["enclave"].report(digest)
    bed.progress("compliance bundles")
    for iteration in range(1 + COUNT):
        started_ns = bed.clock_ns()
        bundle = bed.bundle(digest)
        data = bundle.encode()
        collected_ns = bed.clock_ns()
        rows = verdict.verify(data, anchors=Anchors(bundle.root, bundle.owner, bundle.pcrs))
        checked_ns = bed.clock_ns()
        if failed := [f"{row.id}: {row.detail}" for row in rows if row.result is Result.FAILED]:
            raise ValueError(f"nothing was checked to the end: {'; '.join(failed)}")
        sessions = bundle.runs[0].boots[0].sessions
        receipts = sum(len(session.receipts) for session in sessions)
        at = (("sessions", len(sessions)), ("receipts", receipts))
        place = "enclave", bed.boot, iteration - 1, iteration
        for metric, value in (
            ("compliance_collect", (collected_ns - started_ns) / 1e6),
            ("compliance_check", (checked_ns - collected_ns) / 1e6),
            ("compliance_size", len(data)),
        ):
            yield Observation(metric, *place, value, iteration == 0, at)
