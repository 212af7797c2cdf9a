"""Peak resident memory of each server after everything it served in this boot."""

from __future__ import annotations

from collections.abc import Iterator

from bench.probes import ALL, Bed
from bench.records import Observation

METRICS = ("peak_rss",)
SERVERS = ALL
NEEDS = ("request", "load")


def run(bed: Bed) -> Iterator[Observation]:
    """VmHWM in MiB, as the server itself reads it."""
    for name, talk in bed.main.items():
        peak_bytes = talk.report()["peak_rss_bytes"]
        if not isinstance(peak_bytes, int):
            raise TypeError(f"peak_rss_bytes is {peak_bytes!r}, expected an integer")
        yield Observation("peak_rss", name, bed.boot, 0, 0, peak_bytes / 2**20)
