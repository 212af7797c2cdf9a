"""Verdicts on files, for people and for machines."""

from __future__ import annotations

import json
from collections.abc import Iterable, Iterator, Mapping, Sequence
from collections.abc import Set as AbstractSet
from dataclasses import asdict, dataclass, field
from enum import IntEnum

from bench.verify.steps import Procedure
from enclave.wire.errors import VerificationError

SCHEMA = 1
LONGEST = 300  # of anything that a file brought along


class Outcome(IntEnum):
    """What a file amounts to; the numbers are exit codes."""

    VERIFIED = 0
    NOT_AUTHENTIC = 1
    INCOMPLETE = 2
    NOT_ACCEPTABLE = 3
    UNREADABLE = 4

    @property
    def text(self) -> str:
        return "not judged" if self is Outcome.INCOMPLETE else self.name.lower().replace("_", " ")


# Of several files the gravest decides.
GRAVEST = (
    *(Outcome.NOT_AUTHENTIC, Outcome.NOT_ACCEPTABLE, Outcome.UNREADABLE, Outcome.INCOMPLETE),
    Outcome.VERIFIED,
)


@dataclass(frozen=True, slots=True)
class Failure:
    """Why a file is not verified."""

    step: str
    found: str
    expected: str
    hint: str = ""

    @classmethod
    def of(cls, error: VerificationError) -> Failure:
        return cls(error.step, str(error.found), str(error.expected), error.hint)


@dataclass(frozen=True, slots=True)
class Line:
    """One numbered step of one verifier: `result` is ok, failed, not reached or not asked."""

    verifier: str
    number: int
    result: str
    text: str


@dataclass(frozen=True, slots=True)
class Verdict:
    """One file, judged. `notes` limit what the outcome means, `facts` are what the file says."""

    file: str
    kind: str
    outcome: Outcome
    steps: tuple[Line, ...] = ()
    failure: Failure | None = None
    notes: tuple[str, ...] = ()
    facts: Mapping[str, str | int | bool] = field(default_factory=dict)


def walked(
    procedure: Procedure, failure: str | None, *, unasked: AbstractSet[int] = frozenset()
) -> tuple[Line, ...]:
    """The steps of a verifier that stopped at `failure`, or passed them all (None)."""
    stop = len(procedure.steps) + 1 if failure is None else procedure.number(failure)
    lines = []
    for number, step in enumerate(procedure.steps, start=1):
        result = "ok" if number < stop else "failed" if number == stop else "not reached"
        if number in unasked and result == "ok":
            result = "not asked"
        lines.append(Line(procedure.name, number, result, step.text))
    return tuple(lines)


def unasked(procedure: Procedure) -> tuple[Line, ...]:
    """The steps of a verifier that could not be called."""
    numbered = enumerate(procedure.steps, start=1)
    return tuple(Line(procedure.name, n, "not asked", step.text) for n, step in numbered)


def refused(
    file: str,
    kind: str,
    procedure: Procedure,
    error: VerificationError,
    *,
    before: Sequence[Line] = (),
    notes: tuple[str, ...] = (),
) -> Verdict:
    """A file at which a verifier stopped."""
    acceptance = procedure.refuses(error.step)
    outcome = Outcome.NOT_ACCEPTABLE if acceptance else Outcome.NOT_AUTHENTIC
    steps = (*before, *walked(procedure, error.step))
    return Verdict(file, kind, outcome, steps, Failure.of(error), notes)


def exit_code(verdicts: Iterable[Verdict]) -> int:
    """Of all files."""
    return int(min((verdict.outcome for verdict in verdicts), key=GRAVEST.index))


def as_json(verdicts: Sequence[Verdict]) -> str:
    """For machines; the schema stands in bench.verify.__main__."""
    files = [asdict(verdict) | {"outcome": verdict.outcome.text} for verdict in verdicts]
    return json.dumps({"schema": SCHEMA, "exit": exit_code(verdicts), "files": files}, indent=2)


def as_text(verdict: Verdict) -> Iterator[str]:
    """For people: the steps, what they do not say, and the outcome."""
    yield f"{printable(verdict.file)}: {verdict.kind}"
    verifier = ""
    for line in verdict.steps:
        if line.verifier != verifier:
            verifier = line.verifier
            yield f"  {verifier}"
        yield f"    {line.number:2} {line.result:11} {line.text}"
    yield from (f"  {name}: {printable(str(value))}" for name, value in verdict.facts.items())
    yield from (f"  note: {printable(note)}" for note in verdict.notes)
    yield f"  {verdict.outcome.text}"


def complaint(verdict: Verdict) -> Iterator[str]:
    """Why not, and what to do about it; nothing for a file that is verified."""
    failure = verdict.failure
    if failure is not None:
        where, found = printable(f"{verdict.file}: {failure.step}"), printable(failure.found)
        yield f"error: {where}: found {found}, expected {printable(failure.expected)}"
        if failure.hint:
            yield f"hint: {printable(failure.hint)}"


def printable(text: str) -> str:
    """On one line, short, and without anything that steers a terminal."""
    shown = "".join(c if c.isprintable() else ascii(c)[1:-1] for c in text[: LONGEST + 1])
    return shown if len(shown) <= LONGEST else f"{shown[:LONGEST]}..."
