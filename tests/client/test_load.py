"""Load under a clock that is told what everything takes: queues whose answers are in textbooks."""

from __future__ import annotations

import heapq
import math
import random
from collections.abc import Callable
from itertools import pairwise
from statistics import fmean

import pytest

from bench.client.load import ARRIVALS, Answered, Closed, Open, Turn, Turns, arrivals, run
from enclave.wire.errors import RemoteProtocolError, VerificationError

MS, SECOND = 1_000_000, 1_000_000_000
FOREVER = 10**18


def simulate(
    turns: Turns, sessions: int, begins_ns: Callable[[int], int], service_ns: int
) -> list[Answered]:
    """What sessions see of one server that answers in order, each request in `service_ns`.

    `begins_ns` says when a server that is free at that time begins: later where it stalls.
    """
    free = [(0, number) for number in range(sessions)]  # when a session is free, and which
    server_ns, answered = 0, []
    while free:
        now_ns, session = heapq.heappop(free)
        turn = turns.next(now_ns)
        if turn is None:
            continue
        sent_ns = max(now_ns, turn.due_ns)
        server_ns = begins_ns(max(sent_ns, server_ns)) + service_ns
        answered.append(Answered(turn, sent_ns, server_ns))
        heapq.heappush(free, (server_ns, session))
    return answered


def at_once(now_ns: int) -> int:
    return now_ns


def stalled(now_ns: int) -> int:
    """Nothing begins in the fifth second."""
    return 5 * SECOND if 4 * SECOND <= now_ns < 5 * SECOND else now_ns


def share(answered: list[Answered], limit_ms: float) -> float:
    return sum(answer.latency_ns > limit_ms * MS for answer in answered) / len(answered)


def test_a_closed_loop_omits_what_a_stall_kept_from_being_sent() -> None:
    answered = simulate(Closed(9000), 1, stalled, MS)
    late = [answer for answer in answered if answer.latency_ns > MS]
    assert [answer.latency_ns for answer in late] == [SECOND + MS]  # one of nine thousand


def test_an_open_loop_counts_all_whom_a_stall_kept_waiting() -> None:
    due_ns = arrivals("constant", 500, 5000, random.Random(1))
    answered = simulate(Open(due_ns, FOREVER), 1, stalled, MS)
    # 500 came during the stall; each later one waits 1 ms less than the one before it, so the
    # queue is worked off after another second: a fifth of what came in ten seconds was late.
    assert share(answered, 1) == pytest.approx(0.2, abs=0.001)
    assert max(answer.latency_ns for answer in answered) == SECOND + MS
    # To a session it looks like a closed loop: of all its times in service none but one is long.
    assert sum(answer.done_ns - answer.sent_ns > MS for answer in answered) == 1


@pytest.mark.parametrize("load", [0.3, 0.5, 0.8])
def test_constant_service_under_poisson_arrivals_waits_as_pollaczek_and_khinchine_say(
    load: float,
) -> None:
    due_ns = arrivals("poisson", load * 1000, 200_000, random.Random(7))
    answered = simulate(Open(due_ns, FOREVER), 200, at_once, MS)
    waited_ms = fmean(answer.latency_ns / MS - 1 for answer in answered)
    assert waited_ms == pytest.approx(load / (2 * (1 - load)), rel=0.05)  # M/D/1


def test_constant_arrivals_below_capacity_wait_for_nobody() -> None:
    due_ns = arrivals("constant", 990, 3000, random.Random(1))
    answered = simulate(Open(due_ns, FOREVER), 8, at_once, MS)
    assert {answer.latency_ns for answer in answered} == {MS}


def test_above_capacity_the_wait_grows_with_every_arrival() -> None:
    due_ns = arrivals("constant", 2000, 1000, random.Random(1))
    answered = simulate(Open(due_ns, FOREVER), 4, at_once, MS)
    # One comes each 0.5 ms and one leaves each 1 ms: the last of n waits (n - 1) / 2 ms.
    assert answered[-1].latency_ns == pytest.approx(MS + 999 * MS / 2, rel=1e-6)
    rate = len(answered) / (answered[-1].done_ns / SECOND)
    assert rate == pytest.approx(1000, rel=0.001)


def test_a_closed_loop_never_has_more_than_its_sessions_waiting() -> None:
    answered = simulate(Closed(1000), 4, at_once, MS)
    assert {answer.latency_ns for answer in answered[4:]} == {4 * MS}  # Little: 4 = 1/ms * 4 ms


def test_whoever_waited_too_long_to_be_sent_is_dropped_and_counted() -> None:
    turns = Open(arrivals("constant", 2000, 1000, random.Random(1)), patience_ns=10 * MS)
    answered = simulate(turns, 1, at_once, MS)
    assert len(answered) + len(turns.dropped) == 1000
    assert len(turns.dropped) == pytest.approx(500, abs=12)  # the server answers half of them
    assert max(answer.waited_ns for answer in answered) <= 10 * MS


def test_a_stopped_load_gives_out_nothing_more_and_drops_nothing() -> None:
    turns = Open([0, 1, 2], patience_ns=FOREVER)
    assert turns.next(0) == Turn(0, 0)
    turns.stop()
    assert turns.next(5) is None
    assert turns.dropped == []


@pytest.mark.parametrize("kind", ARRIVALS)
def test_the_same_seed_gives_the_same_arrivals_at_the_rate_asked(kind: str) -> None:
    made = [arrivals(kind, 250, 20_000, random.Random(seed)) for seed in (3, 3, 4)]
    assert made[0] == made[1]
    assert (made[0] != made[2]) == (kind == "poisson")
    assert made[0] == sorted(made[0])
    assert made[0][-1] / SECOND == pytest.approx(20_000 / 250, rel=0.02)


def test_gaps_of_poisson_arrivals_are_exponential() -> None:
    due_ns = arrivals("poisson", 1000, 50_000, random.Random(5))
    gaps_ms = [(after - before) / MS for before, after in pairwise(due_ns)]
    assert fmean(gaps_ms) == pytest.approx(1, rel=0.02)
    for limit_ms in (0.5, 1.0, 3.0):
        beyond = sum(gap > limit_ms for gap in gaps_ms) / len(gaps_ms)
        assert beyond == pytest.approx(math.exp(-limit_ms), abs=0.01)


def test_constant_gaps_are_all_alike() -> None:
    assert arrivals("constant", 100, 4, random.Random(1)) == [10 * MS, 20 * MS, 30 * MS, 40 * MS]


@pytest.mark.parametrize("kind", ARRIVALS)
def test_on_a_ramp_the_rate_rises_from_nothing_to_what_is_asked(kind: str) -> None:
    due_ns = arrivals(kind, 1000, 40_000, random.Random(2), ramp_s=10)

    def within(since_s: float, until_s: float) -> int:
        return sum(since_s * SECOND < due <= until_s * SECOND for due in due_ns)

    assert within(0, 10) == pytest.approx(5000, rel=0.05)  # the triangle under the ramp
    assert within(0, 5) == pytest.approx(1250, rel=0.1)
    for since_s in (10, 20, 30):
        assert within(since_s, since_s + 10) == pytest.approx(10_000, rel=0.05)


def test_other_arrivals_are_refused_by_name() -> None:
    with pytest.raises(ValueError, match="found 'bursty', expected one of poisson, constant"):
        arrivals("bursty", 1, 1, random.Random(1))


class Server:
    """Answers after 2 ms of a clock that passes by being told; fails where it is told."""

    def __init__(self, failing: dict[int, Exception] | None = None) -> None:
        self.now_ns = 77
        self.failing = failing or {}

    def clock(self) -> int:
        return self.now_ns

    def wait_until(self, due_ns: int) -> None:
        self.now_ns = max(self.now_ns, due_ns)

    def ask(self, number: int) -> None:
        self.now_ns += 2 * MS
        if number in self.failing:
            raise self.failing[number]


def test_a_run_waits_for_its_time_and_no_longer() -> None:
    server, heard = Server(), []
    turns = Open([0, 10 * MS, 11 * MS], patience_ns=FOREVER)
    outcome = run([server.ask], turns, server.clock, server.wait_until, heard.append)
    assert outcome.answered == heard
    assert [answer.sent_ns for answer in outcome.answered] == [0, 10 * MS, 12 * MS]
    assert [answer.waited_ns for answer in outcome.answered] == [0, 0, MS]
    assert [answer.latency_ns for answer in outcome.answered] == [2 * MS, 2 * MS, 3 * MS]
    assert outcome.elapsed_ns == 14 * MS
    assert outcome.per_second == pytest.approx(3 / 0.014)


@pytest.mark.parametrize("error", [TimeoutError("no answer"), RemoteProtocolError("nonsense")])
def test_a_failed_request_ends_its_session_and_is_counted(error: Exception) -> None:
    server = Server({2: error})
    outcome = run([server.ask], Closed(5), server.clock, server.wait_until)
    assert [answer.turn.number for answer in outcome.answered] == [0, 1]
    assert outcome.failed == [(Turn(2, 4 * MS), f"{type(error).__name__}: {error}")]


def test_other_sessions_go_on_after_one_has_failed() -> None:
    server = Server({0: ConnectionResetError("gone")})
    outcome = run([server.ask, server.ask], Closed(6), server.clock, server.wait_until)
    assert [turn.number for turn, _ in outcome.failed] == [0]
    assert [answer.turn.number for answer in outcome.answered] == [1, 2, 3, 4, 5]


def test_evidence_that_does_not_hold_is_no_failed_request() -> None:
    refused = VerificationError("receipt", found="another", expected="this session's")
    server = Server({1: refused})
    with pytest.raises(VerificationError):
        run([server.ask], Closed(5), server.clock, server.wait_until)
