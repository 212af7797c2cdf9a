"""Asking a service that is slow, busy or away: again after a while, and not for ever.

Pauses grow and are drawn by chance, so that many who were refused together do not come back
together. After several failures in a row a circuit breaker opens: nobody asks until it has rested,
then one attempt finds out for all. Time is monotonic, and waiting ends at a deadline.
"""

from __future__ import annotations

import random
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

T = TypeVar("T")


class UnavailableError(Exception):
    """The service was not asked: its breaker is open for longer than the caller can wait."""


class State(StrEnum):
    """Of a breaker."""

    CLOSED = "closed"
    OPEN = "open"
    HALF_OPEN = "half-open"


@dataclass(frozen=True, slots=True)
class Limits:
    """Of one caller: no attempt begins after `seconds`, and none takes more than its own.

    The first pause is drawn up to `first_pause_seconds`, each further one up to twice as much, but
    no more than `longest_pause_seconds`. The breaker opens after `failures` in a row and rests.
    """

    attempts: int = 20
    seconds: float = 60.0
    attempt_seconds: float = 10.0
    first_pause_seconds: float = 0.1
    longest_pause_seconds: float = 5.0
    failures: int = 5
    rest_seconds: float = 5.0


class Breaker:
    """Whether a service is asked at all; shared by everyone who asks it."""

    def __init__(
        self, limits: Limits, clock: Callable[[], float], heard: Callable[[str], None]
    ) -> None:
        self._limits = limits
        self._clock = clock
        self._heard = heard
        self._lock = threading.Lock()
        self._failures = 0
        self._rested = 0.0  # when somebody may try, unless closed
        self.state = State.CLOSED

    def wait_seconds(self) -> float:
        """How long until somebody may ask."""
        closed = self.state is State.CLOSED
        return 0.0 if closed else max(self._rested - self._clock(), 0.0)

    def admit(self) -> bool:
        """Whether the caller may ask now. A trial that never ends makes way for another."""
        with self._lock:
            if self.wait_seconds() > 0:
                return False
            if self.state is not State.CLOSED:
                self._become(State.HALF_OPEN)
            return True

    def succeeded(self) -> None:
        """The service answered, whatever it said."""
        with self._lock:
            self._failures = 0
            if self.state is not State.CLOSED:
                self._become(State.CLOSED)

    def failed(self) -> None:
        """It did not."""
        with self._lock:
            self._failures += 1
            trial = self.state is State.HALF_OPEN
            if trial or (self.state is State.CLOSED and self._failures >= self._limits.failures):
                self._become(State.OPEN)

    def _become(self, state: State) -> None:
        self.state = state
        self._rested = self._clock() + self._limits.rest_seconds
        self._heard(state)


class Patience:
    """Attempts at one service. `heard` is told each attempt and each new state of the breaker."""

    def __init__(
        self,
        limits: Limits = Limits(),
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
        chance: Callable[[], float] = random.random,
        heard: Callable[[str], None] = lambda _: None,
    ) -> None:
        self.limits = limits
        self.breaker = Breaker(limits, clock, heard)
        self._clock = clock
        self._sleep = sleep
        self._chance = chance
        self._heard = heard

    def call(self, work: Callable[[], T], transient: type[Exception]) -> T:
        """What `work` gives at last. Only `transient` errors are worth another attempt.

        The last of them is raised where attempts or time ran out, and UnavailableError where there
        was no attempt at all.
        """
        end = self._clock() + self.limits.seconds
        failure: Exception = UnavailableError("not asked, after failures in a row")
        for pause in self._pauses():
            wait = max(pause, self.breaker.wait_seconds())
            if self._clock() + wait > end:
                break
            if wait:
                self._sleep(wait)
            if not self.breaker.admit():  # another caller's trial is under way
                continue
            self._heard("attempt")
            try:
                result = work()
            except transient as error:
                self.breaker.failed()
                failure = error
            except Exception:
                self.breaker.succeeded()
                raise
            else:
                self.breaker.succeeded()
                return result
        try:
            raise failure
        finally:
            del failure  # or it would hold this frame, which holds it, and all that it was given

    def _pauses(self) -> Iterator[float]:
        yield 0.0
        most = self.limits.first_pause_seconds
        for _ in range(1, self.limits.attempts):
            yield most * self._chance()
            most = min(2 * most, self.limits.longest_pause_seconds)
