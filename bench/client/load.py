"""Load: whose turn it is to send and when, apart from how it is sent.

A closed loop asks again as soon as it is answered: a server that stalls holds up the load too, and
the requests that would have come meanwhile are missing from its latencies (coordinated omission).
In an open loop the times of sending stand before the first request is sent, and latency counts from
the intended one, whoever was late. In the words of MLPerf's LoadGen a closed loop of one session is
the scenario `single stream`, an open one with Poisson arrivals the scenario `server`.

What decides anything here knows no clock, thread or socket; only `run` is given a clock, and makes
threads. Times are nanoseconds since the start of the load.
"""

from __future__ import annotations

import math
import random
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from itertools import accumulate
from threading import Lock
from typing import Protocol

from enclave.wire.errors import RemoteProtocolError

ARRIVALS = ("poisson", "constant")


@dataclass(frozen=True, slots=True)
class Turn:
    """A request's number, and when it is to be sent."""

    number: int
    due_ns: int


class Turns(Protocol):
    """What is left to send, in order."""

    def next(self, now_ns: int) -> Turn | None:
        """What a session that is free now sends next; None where it is done."""


@dataclass(slots=True)
class Closed:
    """So many requests, each due when a session is free for it."""

    count: int
    taken: int = 0

    def next(self, now_ns: int) -> Turn | None:
        """Due at once."""
        if self.taken == self.count:
            return None
        self.taken += 1
        return Turn(self.taken - 1, now_ns)


@dataclass(slots=True)
class Open:
    """A request for each time in `due_ns` (ascending), for the first session that is free.

    One that no session was free for within `patience_ns` of its time is dropped: its client has
    gone. What is left when the load is stopped has never been due.
    """

    due_ns: Sequence[int]
    patience_ns: int
    dropped: list[Turn] = field(default_factory=list)
    taken: int = 0
    stopped: bool = False

    def next(self, now_ns: int) -> Turn | None:
        """The first that is not too late; it may be due only later than now."""
        while self.taken < len(self.due_ns) and not self.stopped:
            turn = Turn(self.taken, self.due_ns[self.taken])
            self.taken += 1
            if now_ns - turn.due_ns <= self.patience_ns:
                return turn
            self.dropped.append(turn)
        return None

    def stop(self) -> None:
        """Give out no further turns."""
        self.stopped = True


def arrivals(
    kind: str, per_second: float, count: int, chance: random.Random, ramp_s: float = 0.0
) -> list[int]:
    """Times of sending, ascending: gaps of 1/rate (`constant`), or exponential ones (`poisson`).

    The rate rises from 0 over the first `ramp_s` seconds. Times are those of a process of rate 1,
    put through the inverse of the expected number of arrivals until t, which is
    rate t^2 / (2 ramp) on the ramp and rate (t - ramp / 2) after it (Lewis and Shedler 1979).
    """
    if kind not in ARRIVALS:
        raise ValueError(f"arrivals: found {kind!r}, expected one of {', '.join(ARRIVALS)}")
    gaps = (chance.expovariate(1.0) if kind == "poisson" else 1.0 for _ in range(count))
    return [round(1e9 * _reached(units, per_second, ramp_s)) for units in accumulate(gaps)]


def _reached(units: float, per_second: float, ramp_s: float) -> float:
    """When so many arrivals are expected, in seconds."""
    if units <= per_second * ramp_s / 2:
        return math.sqrt(2 * ramp_s * units / per_second)
    return units / per_second + ramp_s / 2


@dataclass(frozen=True, slots=True)
class Answered:
    """One request's times: due, sent when a session was free for it, and done."""

    turn: Turn
    sent_ns: int
    done_ns: int

    @property
    def latency_ns(self) -> int:
        """What whoever wanted to send at that time has waited."""
        return self.done_ns - self.turn.due_ns

    @property
    def waited_ns(self) -> int:
        """What of it passed before anything was sent."""
        return self.sent_ns - self.turn.due_ns


@dataclass(slots=True)
class Outcome:
    """What became of a load; a session whose request failed is of no more use."""

    answered: list[Answered] = field(default_factory=list)
    failed: list[tuple[Turn, str]] = field(default_factory=list)
    elapsed_ns: int = 0

    @property
    def per_second(self) -> float:
        """Answers in a second, from the start to the last of them."""
        return len(self.answered) / (self.elapsed_ns / 1e9)


Ask = Callable[[int], None]


def run(
    sessions: Sequence[Ask],
    turns: Turns,
    clock_ns: Callable[[], int],
    wait_until_ns: Callable[[int], None],
    heard: Callable[[Answered], None] = lambda _: None,
) -> Outcome:
    """Send what there is to send, a thread for each session; each is asked by a turn's number.

    `heard` is told of every answer, one at a time. An OSError or RemoteProtocolError ends its
    session and counts as a failure; anything else is a bug and is raised.
    """
    outcome, lock, start_ns = Outcome(), Lock(), clock_ns()

    def ask(session: Ask, turn: Turn) -> bool:
        wait_until_ns(start_ns + turn.due_ns)
        sent_ns = clock_ns() - start_ns
        try:
            session(turn.number)
        except (OSError, RemoteProtocolError) as error:
            with lock:
                outcome.failed.append((turn, f"{type(error).__name__}: {error}"))
            return False
        answer = Answered(turn, sent_ns, clock_ns() - start_ns)
        with lock:
            outcome.answered.append(answer)
            heard(answer)
        return True

    def work(session: Ask) -> None:
        going = True
        while going:
            with lock:
                turn = turns.next(clock_ns() - start_ns)
            going = turn is not None and ask(session, turn)

    with ThreadPoolExecutor(len(sessions)) as pool:
        for done in [pool.submit(work, session) for session in sessions]:
            done.result()
    outcome.elapsed_ns = clock_ns() - start_ns
    outcome.answered.sort(key=lambda answer: answer.turn.number)
    return outcome
