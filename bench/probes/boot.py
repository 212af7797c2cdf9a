"""Cold start: from process start to a model that answers, and its stages from inside."""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from bench.probes import Bed
from bench.records import Observation

METRICS = ("cold_start", "cold_start_stage")


def run(bed: Bed) -> Iterator[Observation]:
    """One value a boot and side, in ms; `launch` is what passes before our first instruction."""
    for name, side in bed.sides.items():
        if name not in bed.main:
            continue
        yield Observation("cold_start", name, bed.boot, 0, 0, side.start_ns["whole"] / 1e6)
        stages = _boot_ns(bed.main[name].report())
        if "launch" in side.start_ns:
            stages = {"launch": side.start_ns["launch"], **stages}
        for stage, elapsed_ns in stages.items():
            at = (("stage", stage),)
            yield Observation("cold_start_stage", name, bed.boot, 0, 0, elapsed_ns / 1e6, at=at)


def _boot_ns(report: Mapping[str, object]) -> dict[str, int]:
    rows = report["boot_ns"]
    if not isinstance(rows, list):
        raise TypeError(f"boot_ns is {type(rows).__name__}, expected rows of stage and time")
    return {str(stage): int(elapsed_ns) for stage, elapsed_ns in rows}
