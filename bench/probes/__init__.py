"""A probe is a function that yields observations; one file per metric family.

Contract: `METRICS` names the metric ids a file may yield, `SERVERS` the servers it needs, and
`run(bed)` yields every value, warm-ups included and marked. Which probes a tier runs stands in the
catalogue and nowhere else.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from bench.verify.compliance.bundle import Bundle
from bench.verify.sessions import Evidence
from enclave.wire.frames import Channel

ALL = ("plain", "null", "bare", "enclave")  # every kind of server that is compared

# An enclave that rounds the size of what it answers up; one is started for each size to try.
PADDED = "padded"


def padded(bucket_bytes: int) -> str:
    """The name among a bed's sides of the enclave that pads to multiples of so many bytes."""
    return f"{PADDED} {bucket_bytes}"


def unheard(_: object) -> None:
    """A listener for those who do not listen."""


class Talk(Protocol):
    """One open session with a server, attested or not."""

    @property
    def evidence(self) -> Evidence | None:
        """What the server signed in this session; None where it signs nothing."""

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
    def start_ns(self) -> Mapping[str, int]:
        """`whole` and, where it can be told, `launch`, on the host's clock."""

    def talk(
        self, mark: Callable[[str], None] = unheard, pace: Callable[[int], None] = unheard
    ) -> Talk:
        """Open a session, verified where the side can be.

        `mark` hears the moments of the client's side, `pace` the size of every frame: of a sent one
        whole, of a received one without its header.
        """

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
    security_blocks: int
    padding: Sequence[int]


@dataclass(frozen=True, slots=True)
class Bed:
    """What a probe measures on: one boot of every side.

    `main` holds one open session per compared side; `text(n)` gives a new text of n tokens.
    `bundle(digest)` is what a reviewer is handed of the enclave's sessions so far, of whose records
    the enclave was asked to sign that digest.
    `releases()` opens a way to have the model's key released outside an enclave: called, it attests
    a key and gives what has the model's key released to that one.
    """

    boot: int
    sides: Mapping[str, Side]
    main: Mapping[str, Talk]
    workload: Workload
    text: Callable[[int], str]
    random: random.Random
    clock_ns: Callable[[], int]
    progress: Callable[[str], None]
    bundle: Callable[[bytes], Bundle]
    releases: Callable[[], AbstractContextManager[Callable[[], Callable[[], object]]]]

    def mirrored(self, names: Sequence[str]) -> list[str]:
        """The names in random order and back again: every side's mean position is the same."""
        order = self.random.sample(list(names), len(names))
        return [*order, *reversed(order)]
