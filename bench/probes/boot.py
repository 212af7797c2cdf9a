"""Cold start: from process start to a model that answers, and its stages from inside."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from bench.probes import ALL, Bed, Talk
from bench.records import Observation

METRICS = ("cold_start", "cold_start_stage", "cold_start_begin")
SERVERS = ALL


def run(bed: Bed) -> Iterator[Observation]:
    """One value a boot and side, in ms; `launch` is what passes before our first instruction.

    Stages overlap, so beside how long each took stands when it began, since the launch.
    """
    for name, side in bed.sides.items():
        if name not in bed.main:
            continue
        yield Observation("cold_start", name, bed.boot, 0, 0, side.start_ns["whole"] / 1e6)
        launch_ns = side.start_ns.get("launch", 0)
        stages = [("launch", launch_ns, 0)] if launch_ns else []
        stages += [(s, ns, launch_ns + begin_ns) for s, ns, begin_ns in _boot_ns(bed.main[name])]
        for stage, elapsed_ns, begin_ns in stages:
            at = (("stage", stage),)
            yield Observation("cold_start_stage", name, bed.boot, 0, 0, elapsed_ns / 1e6, at=at)
            yield Observation("cold_start_begin", name, bed.boot, 0, 0, begin_ns / 1e6, at=at)


def _boot_ns(talk: Talk) -> Sequence[tuple[str, int, int]]:
    """Stage, how long it took and when it began, on the server's own clock."""
    rows = talk.report()["boot_ns"]
    if not isinstance(rows, list):
        raise TypeError(f"boot_ns is {type(rows).__name__}, expected rows of stage and times")
    return [(str(stage), int(elapsed_ns), int(begin_ns)) for stage, elapsed_ns, begin_ns in rows]
