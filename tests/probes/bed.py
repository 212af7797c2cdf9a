"""A bed of servers that are not there: what takes how long is said, and a clock adds it up."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field

from bench.probes import ALL, PADDED, Bed, Workload, padded, unheard
from bench.verify.compliance.bundle import Boot, Bundle, Run
from bench.verify.sessions import Evidence
from enclave.wire.frames import Channel

MS = 1_000_000
ANSWERED = {"plain": 10, "null": 10, "bare": 11, "enclave": 12, PADDED: 14}  # ms a request takes
SIGNED_NS, OWN_NS = 300_000, {"attested": 4 * MS, "keyed": 2 * MS}
DOCUMENT, RECEIPT, FRAME_BYTES = b"d" * 4500, b"r" * 600, {"enclave": 2222, PADDED: 4096}


@dataclass
class Clock:
    """Nanoseconds that pass only when something is said to take them."""

    now_ns: int = 0

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, ms: float) -> None:
        self.now_ns += round(ms * MS)


@dataclass
class FakeTalk:
    """A session that takes as long as its side says; `kind` is the side, whatever its bucket."""

    kind: str
    clock: Clock
    pace: Callable[[int], None] = unheard
    evidence: Evidence | None = None
    parity: Mapping[str, object] = field(default_factory=lambda: {"threads": 2})
    asked: list[str] = field(default_factory=list)
    waiting: int = 0
    timed: int = 0
    closed: bool = False

    def request(self, text: str) -> None:
        self.asked.append(text)
        self.waiting += 1
        self.timed += 1
        self.clock.advance(ANSWERED[self.kind])
        for size in (100, FRAME_BYTES.get(self.kind, 1700)):  # sent whole, received without header
            self.pace(size)

    def settle(self) -> None:
        self.clock.advance(0.5 * self.waiting)
        if self.evidence is not None:
            self.evidence.receipts += [RECEIPT] * self.waiting
        self.waiting = 0

    def report(self, records: bytes = b"") -> Mapping[str, object]:
        self.settle()
        timed, self.timed = self.timed, 0
        return {
            "boot_ns": [["import", 900 * MS, 0], ["key_release", 20 * MS, 900 * MS]],
            "parity": self.parity,
            "requests_ns": {"signed": [SIGNED_NS] * timed},
            "session_ns": OWN_NS,
        }

    def close(self) -> None:
        self.closed = True


@dataclass
class FakeSide:
    """A server of one side; every session that it was asked for is kept."""

    kind: str
    clock: Clock
    talks: list[FakeTalk] = field(default_factory=list)
    parity: Mapping[str, object] = field(default_factory=lambda: {"threads": 2})
    start_ns: Mapping[str, int] = field(default_factory=lambda: {"whole": 2000 * MS})

    def talk(
        self, mark: Callable[[str], None] = unheard, pace: Callable[[int], None] = unheard
    ) -> FakeTalk:
        self.clock.advance(1)
        evidence = None
        if self.kind not in ("plain", "null"):
            for moment, ms in (("offered", 6), ("examined", 7), ("keyed", 3)):
                self.clock.advance(ms)
                mark(moment)
            evidence = Evidence(DOCUMENT, bytes(32), bytes(16))
        self.talks.append(FakeTalk(self.kind, self.clock, pace, evidence, self.parity))
        return self.talks[-1]

    def echo(self) -> Channel:
        raise NotImplementedError("nothing echoes here")


@dataclass
class Made:
    """A bed and what stands behind it."""

    bed: Bed
    clock: Clock
    sides: Mapping[str, FakeSide]
    attested: list[int] = field(default_factory=list)


WORKLOAD = Workload(
    tokens=(8, 32),
    blocks=4,
    warmup=1,
    sessions=(1,),
    load_requests=4,
    payload_bytes=(64,),
    round_trips=2,
    security_blocks=3,
    padding=(0, 4096),
)


def _bundle(digest: bytes, talks: Sequence[FakeTalk]) -> Bundle:
    """A bundle that can be written and read; nothing in it is signed."""
    sessions = [talk.evidence for talk in talks if talk.evidence is not None]
    return Bundle(
        platform="local",
        pcrs={index: bytes([1 + index]) * 48 for index in range(3)},
        root=b"root",
        owner=bytes(32),
        key_arn="key",
        key_policy="{}",
        sealers=[],
        manifest=b"manifest",
        runs=[Run("boot", [Boot(digest, sessions)])],
    )


def make(workload: Workload = WORKLOAD) -> Made:
    """A bed of every side, one session open on each that is compared."""
    clock = Clock()
    sides = {name: FakeSide(name, clock) for name in ALL}
    sides |= {padded(size): FakeSide(PADDED, clock) for size in workload.padding}
    attested: list[int] = []

    @contextmanager
    def releases() -> Iterator[Callable[[], Callable[[], object]]]:
        def attest() -> Callable[[], object]:
            attested.append(clock())
            clock.advance(5)
            return lambda: clock.advance(9)

        yield attest

    bed = Bed(
        boot=1,
        sides=sides,
        main={name: sides[name].talk() for name in ALL},
        workload=workload,
        text=lambda tokens: f"{tokens} tokens",
        random=random.Random(1),
        clock_ns=clock,
        progress=unheard,
        bundle=lambda digest: _bundle(digest, sides["enclave"].talks),
        releases=releases,
    )
    return Made(bed, clock, sides, attested)
