"""Round trips of bare frames, to the enclave and, beside them, over TCP loopback."""

from __future__ import annotations

from collections.abc import Iterator

from bench.probes import Bed
from bench.records import Observation
from enclave.wire.frames import Type

METRICS = ("transport_round_trip",)
SIDES = {"enclave": "enclave", "tcp": "plain"}  # the plain server echoes over TCP loopback
SERVERS = ("plain", "enclave")


def run(bed: Bed) -> Iterator[Observation]:
    """Milliseconds; axis `payload_bytes`, the same number of bytes each way."""
    bed.progress("transport")
    channels = {name: bed.sides[server].echo() for name, server in SIDES.items()}
    for payload_bytes in bed.workload.payload_bytes:
        payload, at = bytes(payload_bytes), (("payload_bytes", payload_bytes),)
        for block in range(-bed.workload.warmup, bed.workload.round_trips):
            for position, name in enumerate(bed.mirrored(list(SIDES))):
                start = bed.clock_ns()
                channels[name].send(Type.ECHO, payload)
                channels[name].receive(Type.ECHO)
                elapsed_ms = (bed.clock_ns() - start) / 1e6
                iteration = 2 * (block + bed.workload.warmup) + int(position >= len(SIDES))
                yield Observation(
                    "transport_round_trip",
                    name,
                    bed.boot,
                    block,
                    iteration,
                    elapsed_ms,
                    block < 0,
                    at,
                )
    for channel in channels.values():
        channel.close()
