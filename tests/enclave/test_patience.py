"""Retries and the breaker, under a clock that passes only when somebody waits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field

import pytest

from enclave.tee.patience import Breaker, Limits, Patience, State, UnavailableError

LIMITS = Limits(
    attempts=10,
    seconds=60.0,
    first_pause_seconds=0.1,
    longest_pause_seconds=0.5,
    failures=3,
    rest_seconds=5.0,
)


class BusyError(Exception):
    """Worth another attempt."""


@dataclass
class World:
    """A clock, and a service that is away until `back` and answers after `takes`."""

    back: float = 0.0
    takes: float = 0.0
    now: float = 1000.0
    asked: list[float] = field(default_factory=list)
    heard: list[str] = field(default_factory=list)

    def clock(self) -> float:
        return self.now

    def sleep(self, seconds: float) -> None:
        assert seconds > 0
        self.now += seconds

    def work(self) -> str:
        self.asked.append(self.now - 1000.0)
        self.now += self.takes
        if self.asked[-1] < self.back:
            raise BusyError("busy")
        return "key"

    def patience(self, limits: Limits = LIMITS, chance: float = 1.0) -> Patience:
        return Patience(
            limits,
            clock=self.clock,
            sleep=self.sleep,
            chance=lambda: chance,
            heard=self.heard.append,
        )


def test_a_service_that_answers_is_asked_once() -> None:
    world = World()
    assert world.patience().call(world.work, BusyError) == "key"
    assert world.asked == [0.0] and world.heard == ["attempt"]


def test_pauses_double_up_to_the_longest_and_are_drawn() -> None:
    world, limits = World(back=1e9), Limits(attempts=5, failures=99, longest_pause_seconds=0.3)
    with pytest.raises(BusyError):
        world.patience(limits).call(world.work, BusyError)
    assert world.asked == pytest.approx([0.0, 0.1, 0.3, 0.6, 0.9])
    world = World(back=1e9)
    with pytest.raises(BusyError):
        world.patience(limits, chance=0.5).call(world.work, BusyError)
    assert world.asked == pytest.approx([0.0, 0.05, 0.15, 0.3, 0.45])


def test_a_boot_survives_a_short_outage_and_hardly_asks_meanwhile() -> None:
    world = World(back=12.0)
    assert world.patience().call(world.work, BusyError) == "key"
    assert world.asked == pytest.approx([0.0, 0.1, 0.3, 5.3, 10.3, 15.3])
    states = [what for what in world.heard if what != "attempt"]
    assert states == ["open", *["half-open", "open"] * 2, "half-open", "closed"]


def test_waiting_ends_at_the_deadline_with_the_last_error() -> None:
    world = World(back=1e9)
    with pytest.raises(BusyError):
        world.patience().call(world.work, BusyError)
    assert world.now - 1000.0 <= LIMITS.seconds
    assert len(world.asked) <= LIMITS.attempts


def test_a_refusal_is_final_and_no_failure_of_the_service() -> None:
    world = World()
    patience = world.patience(Limits(failures=1))

    def refused() -> str:
        world.asked.append(world.now)
        raise PermissionError("access denied")

    with pytest.raises(PermissionError):
        patience.call(refused, BusyError)
    assert len(world.asked) == 1
    assert patience.breaker.state is State.CLOSED


def test_who_cannot_wait_for_an_open_breaker_is_turned_away_unasked() -> None:
    world = World(back=1e9)
    patience = world.patience(Limits(attempts=2, seconds=1.0, failures=2, rest_seconds=5.0))
    with pytest.raises(BusyError):
        patience.call(world.work, BusyError)
    asked = len(world.asked)
    with pytest.raises(UnavailableError, match="not asked"):
        patience.call(world.work, BusyError)
    assert len(world.asked) == asked
    world.back, world.now = 0.0, world.now + 5.0
    assert patience.call(world.work, BusyError) == "key"
    assert patience.breaker.state is State.CLOSED


def breaker(world: World) -> Breaker:
    return Breaker(LIMITS, world.clock, world.heard.append)


def opened(world: World) -> Breaker:
    made = breaker(world)
    for _ in range(LIMITS.failures):
        assert made.admit()
        made.failed()
    return made


def test_it_opens_after_failures_in_a_row_only() -> None:
    world = World()
    made = breaker(world)
    for outcome in (made.failed, made.failed, made.succeeded, made.failed, made.failed):
        outcome()
    assert made.state is State.CLOSED
    made.failed()
    assert made.state is State.OPEN and world.heard == ["open"]


def test_one_trial_finds_out_for_all() -> None:
    world = World()
    made = opened(world)
    assert not made.admit() and made.wait_seconds() == LIMITS.rest_seconds
    world.now += LIMITS.rest_seconds
    assert made.admit() and made.state is State.HALF_OPEN
    assert not made.admit()
    made.succeeded()
    assert made.admit() and made.state is State.CLOSED


def test_a_trial_that_fails_opens_it_again() -> None:
    world = World()
    made = opened(world)
    world.now += LIMITS.rest_seconds
    assert made.admit()
    made.failed()
    assert made.state is State.OPEN and made.wait_seconds() == LIMITS.rest_seconds


def test_a_trial_that_never_ends_makes_way_for_another() -> None:
    world = World()
    made = opened(world)
    world.now += LIMITS.rest_seconds
    assert made.admit() and not made.admit()
    world.now += LIMITS.rest_seconds
    assert made.admit()


def test_failures_that_began_before_it_opened_do_not_prolong_it() -> None:
    world = World()
    made = opened(world)
    world.now += 3.0
    made.failed()
    assert made.wait_seconds() == LIMITS.rest_seconds - 3.0


@pytest.mark.parametrize("end", ["succeeded", "failed"])
def test_an_answer_that_came_late_counts(end: str) -> None:
    made = opened(World())
    outcome: Callable[[], None] = getattr(made, end)
    outcome()
    assert made.state is (State.CLOSED if end == "succeeded" else State.OPEN)
