"""Probes of what breaks first, under a clock that is told what everything takes."""

from __future__ import annotations

import random
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from itertools import pairwise

import pytest

from bench import faults
from bench.faults import Fault
from bench.probes import churn, ladder, load_memory, outage, places
from bench.probes.outage import Call, Outage
from bench.records import Observation
from enclave.wire.errors import RemoteProtocolError
from tests.probes import bed as fake
from tests.probes.bed import Clock


def by_metric(found: Sequence[Observation], metric: str) -> list[float]:
    return [observation.value for observation in found if observation.metric == metric]


# Places


def test_sessions_are_opened_until_one_is_refused_and_a_freed_place_is_had_again() -> None:
    made = fake.make()
    side = made.sides["enclave"]
    side.places = 7
    found = list(places.run(made.bed))
    assert by_metric(found, "max_sessions") == [7]
    assert by_metric(found, "session_refusal") == [1.0] * 3
    assert by_metric(found, "place_recovery") == [17 + 12]  # opened and answered
    assert all(len(talk.asked) == 1 for talk in side.talks)
    assert side.open == 1 and side.kept == 1  # the main one is left, and alone has evidence


def test_a_session_that_ends_in_another_manner_is_no_refusal() -> None:
    made = fake.make()
    side = made.sides["enclave"]

    def broken(**_: object) -> None:
        raise RemoteProtocolError("a frame of an unknown type")

    side.talk = broken  # type: ignore[method-assign,assignment]
    with pytest.raises(RemoteProtocolError, match="unknown type"):
        list(places.run(made.bed))


def test_a_place_that_does_not_come_back_is_an_error() -> None:
    made = fake.make()
    side = made.sides["enclave"]
    side.places = 3
    run = places.run(made.bed)
    assert next(run).value == 3
    side.places = 0
    with pytest.raises(RemoteProtocolError, match="could not be had again"):
        list(run)


# Memory


def test_memory_is_the_highest_of_what_is_resident_while_sessions_ask() -> None:
    made = fake.make()
    found = list(load_memory.run(made.bed))
    seen = {(o.metric, o.side, dict(o.at)["sessions"]): o.value for o in found}
    for name in load_memory.SERVERS:
        for sessions in (1, 4):
            resident = 100 + 2 * (1 + sessions + 1)  # the main one, those that ask, one apart
            assert seen["memory_under_load", name, sessions] == resident
            assert seen["peak_under_load", name, sessions] == resident + 50
        assert made.sides[name].open == 1


def test_a_report_without_the_number_is_an_error() -> None:
    made = fake.make()
    with pytest.raises(TypeError, match="parity is"):
        load_memory.read(made.sides["enclave"].talk(), "parity")


def test_churn_samples_both_sides_and_leaves_no_session_behind() -> None:
    made = fake.make()
    found = list(churn.run(made.bed))
    for name in churn.SERVERS:
        own = [o for o in found if o.side == name]
        elapsed = [o for o in own if o.metric == "churn_elapsed"]
        assert [o.block for o in elapsed] == list(range(churn.SAMPLES + 1))
        assert [o.block for o in elapsed if o.warmup] == list(range(40))
        assert all(later.value > earlier.value for earlier, later in pairwise(elapsed))
        assert elapsed[-1].value == pytest.approx(20, rel=0.05)
        assert set(by_metric(own, "churn_rss")) == {104.0}
        (count,) = by_metric(own, "churned_sessions")
        assert len(made.sides[name].talks) == count + 2
        assert made.sides[name].open == 1 and made.sides[name].kept == 2


# The ladder


@dataclass
class Memory:
    """An enclave that holds so many layers; notes what it was asked, at 5 s a trial."""

    holds: int
    clock: Clock
    tried: list[int] = field(default_factory=list)

    def trial(self, layers: int, memory_mib: int) -> tuple[int, str]:
        assert memory_mib == 960
        self.clock.advance(5000)
        self.tried.append(layers)
        return layers * 48 << 20, "" if layers <= self.holds else "out of memory: no room"


@pytest.mark.parametrize(
    ("holds", "tried"),
    [
        (7, [5, 10, 7, 8]),
        (5, [5, 10, 7, 6]),
        (1, [5, 2, 1]),
        (13, [5, 10, 20, 15, 12, 13, 14]),
    ],
)
def test_the_ladder_finds_the_last_rung_that_holds(holds: int, tried: list[int]) -> None:
    made = fake.make()
    memory = Memory(holds, made.clock)
    found = list(ladder.run(replace(made.bed, trial=memory.trial)))
    assert memory.tried == tried
    assert by_metric(found, "memory_limit") == [holds * 48.0]
    assert by_metric(found, "memory_refused") == [(holds + 1) * 48.0]
    assert by_metric(found, "memory_given") == [960]


def test_where_nothing_loads_there_is_no_limit_and_no_zero() -> None:
    made = fake.make()
    found = list(ladder.run(replace(made.bed, trial=Memory(0, made.clock).trial)))
    assert by_metric(found, "memory_limit") == []
    assert by_metric(found, "memory_refused") == [48.0]


def test_time_that_is_up_leaves_a_coarser_ladder() -> None:
    made = fake.make(replace(fake.WORKLOAD, ladder_seconds=1.0))
    memory = Memory(13, made.clock)
    found = list(ladder.run(replace(made.bed, trial=memory.trial)))
    assert memory.tried == [5, 10, 20]  # one that loads and one that does not are always found
    assert by_metric(found, "memory_limit") == [480.0]
    assert by_metric(found, "memory_refused") == [960.0]


def test_a_refusal_for_another_reason_is_an_error() -> None:
    made = fake.make()
    bed = replace(made.bed, trial=lambda *_: (1, "tokenizer digest: found 0, expected 1"))
    with pytest.raises(ValueError, match="5 layers was refused: tokenizer digest"):
        list(ladder.run(bed))


# Outages


@dataclass
class Service:
    """A client whose service fails as it is told, at 10 ms a call; its breaker is always shut."""

    clock: Clock
    start_ns: int = 0
    schedule: Sequence[Fault] = ()
    events: list[tuple[float, str]] = field(default_factory=list)

    def inject(self, schedule: Sequence[Fault]) -> None:
        self.start_ns, self.schedule = self.clock(), schedule

    def release(self) -> str:
        self.events.append((self.clock() / 1e9, "attempt"))
        fault = faults.due(self.schedule, (self.clock() - self.start_ns) / 1e9)
        self.clock.advance(10)
        return "answered" if fault is None else "failed"


def test_every_kind_of_fault_is_suffered_and_its_schedule_recorded(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(outage, "WORKERS", 1)
    made = fake.make()
    told: list[Mapping[str, float]] = []

    @contextmanager
    def strained(limits: Mapping[str, float]) -> Iterator[Service]:
        told.append(limits)
        yield Service(made.clock)

    found = list(outage.run(replace(made.bed, strained=strained)))
    assert told == [outage.LIMITS] * 4
    assert {o.metric for o in found} == set(outage.METRICS) - {"kms_time_to_open"}
    for kind in faults.KINDS:
        own = [o for o in found if dict(o.at)["fault"] == kind]
        edges = [o.value for o in own if dict(o.at).get("moment") in ("begin", "end")]
        assert max(edges) - min(edges) == pytest.approx(2.0)
        calls = [o.value for o in own if o.metric == "kms_call"]
        assert calls == [number / outage.PER_SECOND for number in range(80)]
        counts = {dict(o.at)["outcome"]: o.value for o in own if o.metric == "kms_calls"}
        assert counts == {"answered": 0, "failed": 40, "shed": 0}
        assert by_metric(own, "kms_amplification") == [1.0]
        (recovery,) = by_metric(own, "kms_recovery")
        assert 0.01 <= recovery <= 0.06


def test_a_service_that_is_down_before_any_fault_is_no_measurement() -> None:
    made = fake.make()

    @contextmanager
    def strained(_: Mapping[str, float]) -> Iterator[Service]:
        service = Service(made.clock)
        service.inject([Fault("reset", 0.0, 1e9)])
        yield service

    with pytest.raises(ValueError, match="before any fault"):
        list(outage.run(replace(made.bed, strained=strained)))


def test_an_outage_is_told_by_hand() -> None:
    calls = [
        Call(0.9, 1.0, "answered"),
        Call(1.0, 1.3, "failed"),
        Call(1.5, 1.5, "shed"),
        Call(2.0, 2.0, "shed"),
        Call(2.5, 2.7, "answered"),
    ]
    events = [(1.0, "attempt"), (1.2, "attempt"), (1.25, "open"), (2.6, "half-open")]
    told = Outage([Fault("reset", 1.0, 2.0)], calls, events)
    assert told.during() == calls[1:3]
    assert told.amplification() == 1.0
    assert told.time_to_open_s() == pytest.approx(0.25)
    assert told.recovery_s() == pytest.approx(0.7)


@pytest.mark.parametrize("outcomes", [["answered", "answered"], ["answered", "failed"]])
def test_where_nothing_failed_or_nothing_recovered_there_is_no_time(outcomes: list[str]) -> None:
    calls = [Call(1.0 + at, 1.1 + at, what) for at, what in enumerate(outcomes)]
    told = Outage([Fault("reset", 1.0, 2.0)], calls, [])
    assert told.recovery_s() is None
    assert told.time_to_open_s() is None


# Schedules


@pytest.mark.parametrize("kind", faults.KINDS)
def test_a_schedule_follows_from_its_seed(kind: str) -> None:
    drawn = faults.schedule(kind, 8.0, random.Random(3))
    assert drawn == faults.schedule(kind, 8.0, random.Random(3))
    assert drawn != faults.schedule(kind, 8.0, random.Random(4))
    assert {fault.kind for fault in drawn} == {kind}
    assert 1.0 <= drawn[0].begin_s <= 2.0
    assert drawn[-1].end_s - drawn[0].begin_s == pytest.approx(4.0)
    assert all((fault.latency_ms > 0) == (kind == "latency") for fault in drawn)
    assert faults.decode(faults.encode(12.5, drawn)) == (12.5, list(drawn))


def test_a_fault_is_due_from_its_begin_until_its_end() -> None:
    first, second = Fault("reset", 1.0, 2.0), Fault("latency", 2.0, 3.0, 5.0)
    found = [faults.due([first, second], at) for at in (0.9, 1.0, 1.9, 2.0, 3.0)]
    assert found == [None, first, first, second, None]
