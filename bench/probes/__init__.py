"""A probe is a function that yields observations; one file per metric family.

Contract: `METRICS` names the metric ids a file may yield, `SERVERS` the servers it needs, and
`run(bed)` yields every value, warm-ups included and marked. A probe that measures what others left
behind says in `NEEDS` which of them have to run before it in the same boot, one that starts servers
of its own and ends them says so with `ENDS_SERVERS`. One that cannot go on raises: its metrics are
marked as failed, and the other probes go on. Which probes a tier runs stands in the catalogue and
nowhere else.
"""

from __future__ import annotations

import random
import socket
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Protocol

from bench.faults import Fault
from bench.verify.compliance.bundle import Bundle
from bench.verify.sessions import Evidence
from enclave.wire.frames import Channel
from enclave.wire.messages import Output, Part

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

    def ask(self, texts: Sequence[str]) -> Output:
        """What the server answers to these texts: a row of numbers for each."""

    def generate(
        self, prompt: str, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[Part]:
        """Ask for a completion; its parts, as they come. All have to be taken."""

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
        self,
        mark: Callable[[str], None] = unheard,
        pace: Callable[[int], None] = unheard,
        *,
        kept: bool = True,
    ) -> Talk:
        """Open a session, verified where the side can be; its evidence is `kept` or forgotten.

        `mark` hears the moments of the client's side, `pace` the size of every frame: of a sent one
        whole, of a received one without its header.
        """

    def echo(self) -> Channel:
        """A channel to the server's echo port."""


class KeyClient(Protocol):
    """A client of the key service with a breaker, while the service misbehaves."""

    @property
    def events(self) -> Sequence[tuple[float, str]]:
        """Each attempt and each new state of the breaker, in seconds of the probes' clock."""

    def inject(self, schedule: Sequence[Fault]) -> None:
        """From now on the service misbehaves as the schedule says."""

    def release(self) -> str:
        """Ask once: `answered`, `failed`, or `shed` where the service was not asked at all."""


@dataclass(frozen=True, slots=True)
class Workload:
    """How much to measure in one boot; counts per boot.

    A tier is told what its probes read (`bench.plan.WORKLOAD`), and the rest is left empty.
    """

    tokens: Sequence[int] = ()
    blocks: int = 0
    warmup: int = 0
    sessions: Sequence[int] = ()
    load_requests: int = 0
    payload_bytes: Sequence[int] = ()
    round_trips: int = 0
    prompt_tokens: Sequence[int] = ()
    new_tokens: int = 0
    generations: int = 0
    security_blocks: int = 0
    padding: Sequence[int] = ()
    repeats: int = 0
    quality_texts: int = 0
    continuation_tokens: int = 0
    scaling_tokens: Sequence[int] = ()
    scaling_blocks: int = 0
    load_sessions: int = 0
    loads: Sequence[float] = ()
    arrivals: Sequence[str] = ()
    load_seconds: float = 0.0
    slo_ms: float = 0.0
    long_requests: Sequence[int] = ()
    saturation_quantile: float = 0.0
    saturation_steps: int = 0
    saturation_seconds: float = 0.0
    stress_sessions: Sequence[int] = ()
    stress_seconds: float = 0.0
    churn_seconds: float = 0.0
    fault_seconds: float = 0.0
    ladder_memory_mib: int = 0
    ladder_seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Bed:
    """What a probe measures on: one boot of every side.

    `main` holds one open session per compared side; `text(n)` gives a new text of n tokens.
    `bundle(digest)` is what a reviewer is handed of the enclave's sessions so far, of whose records
    the enclave was asked to sign that digest.
    `releases()` opens a way to have the model's key released outside an enclave: called, it attests
    a key and gives what has the model's key released to that one.
    `relayed()` opens two ways to one endless source of bytes on this machine: `relay`, as what an
    enclave fetches comes to it, and `direct`.
    `strained(limits)` opens a client of the key service and a way to make that misbehave.
    `trial(layers, memory_mib)` starts an enclave with so large a model and so much memory: the size
    of the weights in bytes, and why it refused, or "".
    """

    boot: int
    sides: Mapping[str, Side]
    main: Mapping[str, Talk]
    workload: Workload
    text: Callable[[int], str]
    random: random.Random
    clock_ns: Callable[[], int]
    wait_until_ns: Callable[[int], None]
    progress: Callable[[str], None]
    bundle: Callable[[bytes], Bundle]
    releases: Callable[[], AbstractContextManager[Callable[[], Callable[[], object]]]]
    strained: Callable[[Mapping[str, float]], AbstractContextManager[KeyClient]]
    trial: Callable[[int, int], tuple[int, str]]
    relayed: Callable[[], AbstractContextManager[Mapping[str, Callable[[], socket.socket]]]]

    def mirrored(self, names: Sequence[str]) -> list[str]:
        """The names in random order and back again: every side's mean position is the same."""
        order = self.random.sample(list(names), len(names))
        return [*order, *reversed(order)]
