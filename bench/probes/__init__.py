"""A probe is a function that yields observations; one file per metric family.

Contract: `METRICS` names the metric ids a file may yield, `run(bed)` yields every value, warm-ups
included and marked. Which probes a tier runs stands in the catalogue and nowhere else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Protocol

from enclave.wire.frames import Channel


class Talk(Protocol):
    """One open session with a server, attested or not."""

    def request(self, text: str) -> None:
        """Ask for one embedding and wait for the answer."""

    def settle(self) -> None:
        """Check what answers came with (receipts); outside of any timing."""

    def report(self, records: bytes = b"") -> Mapping[str, object]:
        """What the server measured since the last report, in nanoseconds and bytes."""

    def close(self) -> None:
        """End the session in good order."""


class Side(Protocol):
    """A running server of one side of the comparison."""

    @property
    def name(self) -> str: ...

    @property
    def start_ns(self) -> Mapping[str, int]:
        """`whole` and, where it can be told, `launch`, on the host's clock."""

    def talk(self) -> Talk:
        """Open a session, verified where the side can be."""

    def echo(self) -> Channel:
        """A channel to the server's echo port."""


@dataclass(frozen=True, slots=True)
class Workload:
    """How much to measure in one boot; counts per boot."""

    tokens: Sequence[int]
    blocks: int
    warmup: int
    sessions: Sequence[int]
    load_requests: int
    payload_bytes: Sequence[int]
    round_trips: int


@dataclass(frozen=True, slots=True)
class Bed:
    """What a probe measures on: one boot of every side.

    `main` holds one open session per interleaved side; `text(n)` gives a new text of n tokens.
    """

    boot: int
    sides: Mapping[str, Side]
    main: Mapping[str, Talk]
    workload: Workload
    text: Callable[[int], str]
    random: random.Random
    clock_ns: Callable[[], int]
    progress: Callable[[str], None]

    def mirrored(self, names: Sequence[str]) -> list[str]:
        """The names in random order and back again: every side's mean position is the same."""
        order = self.random.sample(list(names), len(names))
        return [*order, *reversed(order)]
