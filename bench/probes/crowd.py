"""Crowds: several sessions with one server, for probes that put load on it."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial

from bench.client.load import Answered, Closed, Outcome, Turns, run
from bench.probes import Bed, Talk, unheard
from enclave.wire.errors import RemoteProtocolError

TEXTS = 8  # that sessions take turns in asking


@dataclass(frozen=True, slots=True)
class Crowd:
    """Open sessions with one server, and what they ask."""

    bed: Bed
    talks: Sequence[Talk]
    texts: Sequence[str]

    def run(self, turns: Turns, heard: Callable[[Answered], None] = unheard) -> Outcome:
        """Send these turns; receipts are checked when all is done."""
        asks = [partial(self._ask, talk) for talk in self.talks]
        outcome = run(asks, turns, self.bed.clock_ns, self.bed.wait_until_ns, heard)
        for talk in self.talks:
            talk.settle()
        return outcome

    def one(self, number: int) -> float:
        """Ask once with nobody else asking; milliseconds."""
        start_ns = self.bed.clock_ns()
        self._ask(self.talks[0], number)
        elapsed_ms = (self.bed.clock_ns() - start_ns) / 1e6
        self.talks[0].settle()
        return elapsed_ms

    def _ask(self, talk: Talk, number: int) -> None:
        talk.request(self.texts[number % len(self.texts)])


@contextmanager
def crowd(bed: Bed, name: str, sessions: int, texts: Sequence[str]) -> Iterator[Crowd]:
    """So many sessions with one side, closed when the context ends."""
    talks: list[Talk] = []
    try:
        talks += (bed.sides[name].talk() for _ in range(sessions))
        yield Crowd(bed, talks, texts)
        for talk in talks:
            talk.close()
    except BaseException:
        for talk in talks:
            with suppress(OSError, RemoteProtocolError):
                talk.close()
        raise


def require_answers(outcome: Outcome) -> None:
    """ValueError where a request failed: what was not answered has no latency."""
    if outcome.failed:
        asked = len(outcome.failed) + len(outcome.answered)
        raise ValueError(f"{len(outcome.failed)} of {asked} failed, first {outcome.failed[0][1]}")


def capacity(crowd: Crowd, requests: int) -> float:
    """Requests per second of all sessions in a closed loop."""
    outcome = crowd.run(Closed(requests))
    require_answers(outcome)
    return outcome.per_second
