"""What a relay carries: bytes a second on an enclave's way to the network, and without a relay.

The reader is this process and not an enclave, so the way through the relay is called `bare`.
"""

from __future__ import annotations

import socket
from collections.abc import Callable, Iterator

from bench.probes import Bed
from bench.records import Observation

METRICS = ("relay_throughput",)
SERVERS: tuple[str, ...] = ()  # none is asked
SIDES = {"bare": "relay", "tcp": "direct"}
MIB = 2**20
BULK_BYTES = 64 * MIB
BLOCKS, WARMUP = 4, 1


def run(bed: Bed) -> Iterator[Observation]:
    """MiB/s of connections of 64 MiB each, in mirrored blocks."""
    bed.progress("relay")
    buffer = memoryview(bytearray(MIB))
    with bed.relayed() as ways:
        for block in range(-WARMUP, BLOCKS):
            for position, name in enumerate(bed.mirrored(list(SIDES))):
                elapsed_s = _read(ways[SIDES[name]], buffer, bed.clock_ns) / 1e9
                iteration = 2 * (block + WARMUP) + int(position >= len(SIDES))
                rate = BULK_BYTES / MIB / elapsed_s
                place = name, bed.boot, block, iteration
                yield Observation("relay_throughput", *place, rate, block < 0)


def _read(
    connect: Callable[[], socket.socket], buffer: memoryview, clock_ns: Callable[[], int]
) -> int:
    """Nanoseconds from dialling to the last of so many bytes."""
    start_ns, left = clock_ns(), BULK_BYTES
    with connect() as stream:
        while left:
            count = stream.recv_into(buffer[: min(left, len(buffer))])
            if not count:
                raise OSError(f"the source ended {left} bytes early")
            left -= count
        return clock_ns() - start_ns
