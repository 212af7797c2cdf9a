"""A key service that is slow, cut off, throttling or broken, and a client that asks all the while.

The client is the enclave's own code for the release at boot, with its retries and its breaker, run
outside. It asks at a constant rate, from intended times, with limits scaled so that an outage of a
second is long. The schedule is drawn from the seed and recorded beside what came of it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from bench import faults
from bench.faults import Fault
from bench.probes import Bed, KeyClient
from bench.records import Observation

METRICS = (
    "kms_fault",
    "kms_call",
    "kms_event",
    "kms_calls",
    "kms_amplification",
    "kms_time_to_open",
    "kms_recovery",
)
SERVERS = ("enclave",)
SIDE = "bare"  # the enclave's code, outside of it
PER_SECOND = 20
WORKERS = 32  # calls that can wait at a time: twice what the limits below make possible
LIMITS = {
    "attempts": 3,
    "seconds": 0.4,
    "attempt_seconds": 0.3,
    "first_pause_seconds": 0.05,
    "longest_pause_seconds": 0.2,
    "failures": 5,
    "rest_seconds": 0.25,
}
OUTCOMES = ("answered", "failed", "shed")
OPEN, ATTEMPT = "open", "attempt"


@dataclass(frozen=True, slots=True)
class Call:
    """When a call was to be made and when it had ended, in s since the schedule began."""

    intended_s: float
    ended_s: float
    outcome: str


@dataclass(frozen=True, slots=True)
class Outage:
    """One schedule, and what client and breaker did meanwhile."""

    schedule: Sequence[Fault]
    calls: Sequence[Call]
    events: Sequence[tuple[float, str]]

    @property
    def begin_s(self) -> float:
        return self.schedule[0].begin_s

    @property
    def end_s(self) -> float:
        return self.schedule[-1].end_s

    def during(self) -> list[Call]:
        """Calls that were to be made while the service misbehaved."""
        return [call for call in self.calls if self.begin_s <= call.intended_s < self.end_s]

    def amplification(self) -> float:
        """Attempts per call, while the service misbehaved."""
        attempts = [at for at, what in self.events if what == ATTEMPT]
        return sum(self.begin_s <= at < self.end_s for at in attempts) / len(self.during())

    def time_to_open_s(self) -> float | None:
        """From the first fault until the breaker opened; None if it never did."""
        opened = [at for at, what in self.events if what == OPEN and at >= self.begin_s]
        return opened[0] - self.begin_s if opened else None

    def recovery_s(self) -> float | None:
        """From the last fault's end to the first answer after which no call went without one.

        None where every call was answered, or where the last one was not.
        """
        bad = [call.intended_s for call in self.calls if call.outcome != "answered"]
        good = [call.ended_s for call in self.calls if bad and call.intended_s > max(bad)]
        return max(min(good) - self.end_s, 0.0) if good else None


def run(bed: Bed) -> Iterator[Observation]:
    """Seconds, counts and attempts per call; axis `fault`, and `outcome`, `event` or `moment`."""
    for kind in faults.KINDS:
        bed.progress(f"a key service under fault: {kind}")
        schedule = faults.schedule(kind, bed.workload.fault_seconds, bed.random)
        with bed.strained(LIMITS) as client:
            outage = _suffer(bed, client, schedule)
        yield from _told(bed, kind, outage)


def _suffer(bed: Bed, client: KeyClient, schedule: Sequence[Fault]) -> Outage:
    if client.release() != "answered":
        raise ValueError("the key service did not answer before any fault was injected")
    seconds = bed.workload.fault_seconds
    begin_ns = bed.clock_ns()
    client.inject(schedule)
    known = len(client.events)

    def call(number: int) -> Call:
        intended_s = number / PER_SECOND
        bed.wait_until_ns(begin_ns + round(intended_s * 1e9))
        outcome = client.release()
        return Call(intended_s, (bed.clock_ns() - begin_ns) / 1e9, outcome)

    with ThreadPoolExecutor(WORKERS) as pool:
        calls = list(pool.map(call, range(round(seconds * PER_SECOND))))
    events = [(at - begin_ns / 1e9, what) for at, what in client.events[known:]]
    return Outage(schedule, calls, events)


def _told(bed: Bed, kind: str, outage: Outage) -> Iterator[Observation]:
    def told(metric: str, number: int, value: float, *at: tuple[str, str]) -> Observation:
        axes = (("fault", kind), *at)
        return Observation(metric, SIDE, bed.boot, number, number, value, at=axes)

    for number, fault in enumerate(outage.schedule):
        yield told("kms_fault", number, fault.begin_s, ("moment", "begin"))
        yield told("kms_fault", number, fault.end_s, ("moment", "end"))
        if fault.latency_ms:
            yield told("kms_fault", number, fault.latency_ms / 1000, ("moment", "latency"))
    for number, call in enumerate(outage.calls):
        yield told("kms_call", number, call.intended_s, ("outcome", call.outcome))
    for number, (at_s, event) in enumerate(outage.events):
        yield told("kms_event", number, at_s, ("event", event))
    during = outage.during()
    for outcome in OUTCOMES:
        count = sum(call.outcome == outcome for call in during)
        yield told("kms_calls", 0, count, ("outcome", outcome))
    yield told("kms_amplification", 0, outage.amplification())
    for metric, seconds in (
        ("kms_time_to_open", outage.time_to_open_s()),
        ("kms_recovery", outage.recovery_s()),
    ):
        if seconds is not None:
            yield told(metric, 0, seconds)
