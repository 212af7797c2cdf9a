"""A bed of servers that are not there: what takes how long is said, and a clock adds it up."""

from __future__ import annotations

import random
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import NoReturn

from bench.probes import ALL, PADDED, Bed, Workload, padded, unheard
from bench.verify.compliance.bundle import Boot, Bundle, Run
from bench.verify.sessions import Evidence
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import Channel
from enclave.wire.messages import Output, Part

MS = 1_000_000
ANSWERED = {"plain": 10, "null": 10, "bare": 11, "enclave": 12, PADDED: 14}  # ms a request takes
SIGNED_NS, OWN_NS = 300_000, {"attested": 4 * MS, "keyed": 2 * MS}
DOCUMENT, RECEIPT, FRAME_BYTES = b"d" * 4500, b"r" * 600, {"enclave": 2222, PADDED: 4096}


COUNTING = [Part(token, f" {token}") for token in range(100)]


@dataclass
class Clock:
    """Nanoseconds that pass only when something is said to take them."""

    now_ns: int = 0

    def __call__(self) -> int:
        return self.now_ns

    def advance(self, ms: float) -> None:
        self.now_ns += round(ms * MS)

    def wait_until(self, due_ns: int) -> None:
        self.now_ns = max(self.now_ns, due_ns)


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
    memory_mib: Callable[[], int] = lambda: 100
    drawn: list[tuple[float, int]] = field(default_factory=list)  # temperature and seed
    goes_on: Callable[[str], Sequence[Part]] = lambda _: COUNTING
    answer: Callable[[Sequence[str]], Output] = lambda texts: Output((len(texts), 1), bytes(4))

    def request(self, text: str) -> None:
        self.asked.append(text)
        self.waiting += 1
        self.timed += 1
        self.clock.advance(ANSWERED[self.kind])
        for size in (100, FRAME_BYTES.get(self.kind, 1700)):  # sent whole, received without header
            self.pace(size)

    def ask(self, texts: Sequence[str]) -> Output:
        for text in texts:
            self.request(text)
        return self.answer(texts)

    def generate(
        self, prompt: str, max_new_tokens: int, temperature: float = 0.0, seed: int = 0
    ) -> Iterator[Part]:
        """The first part when a request is answered, then one each 2 ms, the third after 5."""
        self.asked.append(prompt)
        self.drawn.append((temperature, seed))
        self.waiting += 1
        self.clock.advance(ANSWERED[self.kind])
        for position, part in enumerate(self.goes_on(prompt)[:max_new_tokens]):
            self.clock.advance({0: 0, 2: 5}.get(position, 2))
            yield part
        self.clock.advance(1)

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
            "rss_bytes": self.memory_mib() << 20,
            "peak_rss_bytes": (self.memory_mib() + 50) << 20,
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
    places: int = 1000
    kept: int = 0
    start_ns: Mapping[str, int] = field(default_factory=lambda: {"whole": 2000 * MS})

    @property
    def open(self) -> int:
        """How many of its sessions have not ended."""
        return sum(not talk.closed for talk in self.talks)

    def talk(
        self,
        mark: Callable[[str], None] = unheard,
        pace: Callable[[int], None] = unheard,
        *,
        kept: bool = True,
    ) -> FakeTalk:
        self.clock.advance(1)
        if self.open >= self.places:
            raise RemoteProtocolError("the peer ended the session with an alert")
        evidence = None
        if self.kind not in ("plain", "null"):
            for moment, ms in (("offered", 6), ("examined", 7), ("keyed", 3)):
                self.clock.advance(ms)
                mark(moment)
            evidence = Evidence(DOCUMENT, bytes(32), bytes(16))
        self.talks.append(FakeTalk(self.kind, self.clock, pace, evidence, self.parity))
        self.talks[-1].memory_mib = lambda: 100 + 2 * self.open
        self.kept += kept
        return self.talks[-1]

    def echo(self) -> Channel:
        raise NotImplementedError("nothing echoes here")


@dataclass
class FakeStream:
    """Fills whatever it is given, in so many ms."""

    clock: Clock
    ms: float

    def recv_into(self, buffer: memoryview) -> int:
        self.clock.advance(self.ms)
        return len(buffer)

    def __enter__(self) -> FakeStream:
        return self

    def __exit__(self, *_: object) -> None:
        """Nothing is open."""


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
    prompt_tokens=(8, 32),
    new_tokens=5,
    generations=3,
    security_blocks=3,
    padding=(0, 4096),
    scaling_tokens=(32, 63, 128),
    scaling_blocks=2,
    load_sessions=1,
    loads=(0.5,),
    arrivals=("constant", "poisson"),
    load_seconds=1.0,
    slo_ms=11.0,
    long_requests=(5, 9),
    saturation_quantile=0.8,
    saturation_steps=10,
    saturation_seconds=60.0,
    stress_sessions=(1, 4),
    stress_seconds=0.2,
    churn_seconds=20.0,
    fault_seconds=4.0,
    ladder_memory_mib=960,
    ladder_seconds=60.0,
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


def _unwanted(*_: object) -> NoReturn:
    raise NotImplementedError("this bed has no such thing")


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

    @contextmanager
    def relayed() -> Iterator[Mapping[str, Callable[[], FakeStream]]]:
        yield {"relay": lambda: FakeStream(clock, 2.0), "direct": lambda: FakeStream(clock, 1.0)}

    bed = Bed(
        boot=1,
        sides=sides,
        main={name: sides[name].talk() for name in ALL},
        workload=workload,
        text=lambda tokens: f"{tokens} tokens",
        random=random.Random(1),
        clock_ns=clock,
        wait_until_ns=clock.wait_until,
        progress=unheard,
        bundle=lambda digest: _bundle(digest, sides["enclave"].talks),
        releases=releases,
        relayed=relayed,
        strained=_unwanted,
        trial=_unwanted,
    )
    return Made(bed, clock, sides, attested)
