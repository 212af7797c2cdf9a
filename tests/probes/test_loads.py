"""Probes that put load on servers, under a clock that is told what everything takes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Iterable
from dataclasses import replace
from types import ModuleType

import pytest

from bench.client.load import arrivals
from bench.probes import load, long_load, open_loop, relay, saturation, scaling
from bench.records import Observation
from tests.probes import bed as fake
from tests.probes.bed import ANSWERED, WORKLOAD

PROBES = (load, long_load, open_loop, relay, saturation, scaling)


def values(found: Iterable[Observation], metric: str, side: str, **at: object) -> list[float]:
    """What counts of one metric and side at every point that says this, in order."""
    return [
        seen.value
        for seen in found
        if (seen.metric, seen.side, seen.warmup) == (metric, side, False)
        and at.items() <= dict(seen.at).items()
    ]


@pytest.mark.parametrize("probe", PROBES)
def test_values_of_a_cell_are_numbered_in_order_and_sessions_are_closed(probe: ModuleType) -> None:
    made = fake.make()
    found = list(probe.run(made.bed))
    assert {seen.metric for seen in found} == set(probe.METRICS)
    for cell in Counter((seen.metric, seen.side, seen.at) for seen in found):
        numbers = [s.iteration for s in found if (s.metric, s.side, s.at) == cell]
        assert numbers == list(range(len(numbers))), cell
    opened = [talk for side in made.sides.values() for talk in side.talks]
    assert all(talk.closed for talk in opened if talk not in made.bed.main.values())
    assert all(not talk.waiting for talk in opened)  # no receipt is left unchecked


def test_a_closed_loop_asks_as_often_as_was_said_and_no_more() -> None:
    made = fake.make(replace(WORKLOAD, load_requests=6))
    found = list(load.run(made.bed))
    for side, ms in ANSWERED.items():
        if side in load.SERVERS:
            assert values(found, "throughput", side, sessions=1) == [pytest.approx(1000 / ms)] * 2
            assert [len(talk.asked) for talk in made.sides[side].talks[1:]] == [6, 6]


def test_sides_are_sent_the_same_arrivals_at_a_share_of_the_capacity_of_one() -> None:
    found = list(open_loop.run(fake.make().bed))
    for kind in WORKLOAD.arrivals:
        assert values(found, "open_loop_rate", "plain", arrivals=kind) == [50.0]
        counts = [
            len(values(found, "open_loop_latency", side, arrivals=kind))
            for side in open_loop.SERVERS
        ]
        assert counts[0] == counts[1] > 0


def test_arrivals_that_leave_time_for_an_answer_wait_for_nothing() -> None:
    found = list(open_loop.run(fake.make().bed))
    assert set(values(found, "open_loop_latency", "plain", arrivals="constant")) == {10.0}
    assert set(values(found, "open_loop_latency", "enclave", arrivals="constant")) == {12.0}
    assert set(values(found, "open_loop_wait", "enclave", arrivals="constant")) == {0.0}


def test_latency_under_poisson_arrivals_follows_from_the_recorded_seed() -> None:
    found = list(open_loop.run(fake.make().bed))
    seed = int(values(found, "open_loop_seed", "plain", arrivals="poisson")[0])
    due_ms = [ns / 1e6 for ns in arrivals("poisson", 50, 50, random.Random(seed), ramp_s=0.2)]
    free_ms, expected = 0.0, []
    for due in due_ms:
        free_ms = max(free_ms, due) + 10
        if due > 200:
            expected.append(free_ms - due)
    assert max(expected) > 10  # somebody had to wait
    measured = values(found, "open_loop_latency", "plain", arrivals="poisson")
    assert measured == pytest.approx(expected * 2)


def test_arrivals_on_the_ramp_are_kept_as_warmups() -> None:
    found = [o for o in open_loop.run(fake.make().bed) if o.metric == "open_loop_latency"]
    plain = [o for o in found if o.side == "plain" and ("arrivals", "constant") in o.at]
    assert [o.iteration for o in plain if o.warmup] == [*range(5), *range(50, 55)]


def test_goodput_is_the_share_within_the_slo() -> None:
    found = list(open_loop.run(fake.make().bed))  # 11 ms
    assert values(found, "goodput", "plain", arrivals="constant") == [100.0, 100.0]
    assert values(found, "goodput", "enclave", arrivals="constant") == [0.0, 0.0]
    latencies = values(found, "open_loop_latency", "plain", arrivals="poisson")
    kept = sum(latency <= 11 for latency in latencies) / len(latencies)
    assert 0 < kept < 1
    assert values(found, "goodput", "plain", arrivals="poisson") == pytest.approx([100 * kept] * 2)


def test_arrivals_that_no_session_is_free_for_in_time_are_counted_and_missed(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(open_loop, "PATIENCE_NS", 30 * fake.MS)
    made = fake.make(replace(WORKLOAD, loads=(2.0,), arrivals=("constant",), slo_ms=1000.0))
    found = list(open_loop.run(made.bed))
    (first, second) = values(found, "lost_requests", "plain")
    assert first == second > 0
    sent = [o for o in found if (o.metric, o.side) == ("open_loop_latency", "plain")]
    assert first + len(sent) / 2 == 200
    answered = len(values(found, "open_loop_latency", "plain")) / 2
    assert values(found, "goodput", "plain")[0] == pytest.approx(
        100 * answered / 180
    )  # 20 on the ramp


def test_a_failed_request_is_counted_before_the_probe_gives_up(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    made = fake.make()
    run, found = long_load.run(made.bed), []
    asked = fake.FakeTalk.request

    def broken(talk: fake.FakeTalk, text: str) -> None:
        if talk not in made.bed.main.values() and len(talk.asked) == 3:
            raise TimeoutError("no answer in 120 s")
        asked(talk, text)

    monkeypatch.setattr(fake.FakeTalk, "request", broken)
    with pytest.raises(ValueError, match=r"1 of 4 failed, first TimeoutError: no answer in 120 s"):
        for seen in run:
            found.append(seen)
    assert [(seen.metric, seen.value) for seen in found] == [("long_load_failures", 1)]


def test_a_long_load_keeps_every_receipt_and_counts_every_request() -> None:
    made = fake.make()
    found = list(long_load.run(made.bed))
    for requests in WORKLOAD.long_requests:
        at = {"requests": requests, "tokens": 8}
        assert values(found, "long_load_receipts", "enclave", **at) == [requests]
        assert values(found, "long_load_failures", "enclave", **at) == [0]
        assert values(found, "long_load_rate", "enclave", **at) == [pytest.approx(1000 / 12)]
        assert values(found, "long_load_latency", "enclave", **at) == [12.0] * (requests - 1)
        assert values(found, "long_load_receipts", "plain", **at) == []


def test_scaling_takes_turns_at_every_length() -> None:
    made = fake.make()
    found = list(scaling.run(made.bed))
    for start in range(0, len(found), 4):
        order = [seen.side for seen in found[start : start + 4]]
        assert order[2:] == order[1::-1]
        assert len({(seen.block, seen.at) for seen in found[start : start + 4]}) == 1
    assert {dict(seen.at)["tokens"] for seen in found} == set(WORKLOAD.scaling_tokens)
    assert len(values(found, "scaling_latency", "plain", tokens=63)) == 2 * WORKLOAD.scaling_blocks


def test_a_relay_is_compared_with_no_relay() -> None:
    found = list(relay.run(fake.make().bed))
    assert set(values(found, "relay_throughput", "bare")) == {500.0}  # MiB/s at 2 ms a MiB
    assert set(values(found, "relay_throughput", "tcp")) == {1000.0}


@pytest.mark.parametrize(("quantile", "count"), [(0.99, 299), (0.95, 59), (0.8, 14), (0.5, 5)])
def test_how_many_answers_in_a_row_bound_a_quantile(quantile: float, count: int) -> None:
    assert saturation.needed(quantile) == count
    assert quantile**count <= 0.05 < quantile ** (count - 1)


def test_saturation_is_the_first_rate_from_above_that_keeps_within_twice_the_tail() -> None:
    found = list(saturation.run(fake.make().bed))
    for side, ms in (("plain", 10.0), ("enclave", 12.0)):
        assert set(values(found, "unloaded_latency", side)) == {ms}
        assert len(values(found, "unloaded_latency", side)) == 14
        (best,) = values(found, "saturation_throughput", side)
        assert values(found, "saturation_resolution", side) == [pytest.approx(12.5)]
        tried = [o for o in found if (o.metric, o.side) == ("saturation_latency", side)]
        loads = list(dict.fromkeys(float(dict(o.at)["load"]) for o in tried))
        assert loads == [1.25 * step / 10 for step in range(10, 10 - len(loads), -1)]
        assert loads[-1] * 100 == pytest.approx(best)  # plain answers 100 a second
        for share in loads:
            judged = [o.value for o in tried if ("load", share) in o.at and not o.warmup]
            late = [value for value in judged if value > 2 * ms]
            assert (not late and len(judged) == 14) == (share == loads[-1])
            assert len(late) <= 1  # a rate that is too high ends there


@pytest.mark.parametrize(
    ("degraded", "seconds", "complaint"),
    [
        pytest.param(0.5, 60.0, "kept not even 12% of 100 requests/s", id="nothing_is_kept"),
        pytest.param(0.5, 0.5, r"kept no rate above \d+% within 0.5 s", id="time_is_up"),
        pytest.param(1e6, 60.0, "kept 125% of 100 requests/s: disturbed", id="all_is_kept"),
    ],
)
def test_a_search_that_finds_no_rate_says_how_far_it_came(
    monkeypatch: pytest.MonkeyPatch, degraded: float, seconds: float, complaint: str
) -> None:
    monkeypatch.setattr(saturation, "DEGRADED", degraded)
    made = fake.make(replace(WORKLOAD, saturation_seconds=seconds))
    with pytest.raises(ValueError, match=complaint):
        list(saturation.run(made.bed))
