"""Verdicts on compliance bundles: a row for each property, and an outcome of all of them."""

from __future__ import annotations

from collections.abc import Sequence
from hashlib import sha256

from bench.verify.compliance import Anchors, Result, Row, verdict
from bench.verify.compliance.properties import PROPERTIES
from bench.verify.judgement import EMULATED, Trust
from bench.verify.judgement.recognition import Kind
from bench.verify.report import Failure, Line, Outcome, Verdict
from enclave.wire.errors import VerificationError

KIND = Kind.BUNDLE.value
ACCEPTANCE = {asked.id for asked in PROPERTIES if asked.acceptance}


def judge(file: str, data: bytes, trust: Trust) -> Verdict:
    """Every row, whatever failed; nothing is verified whose root, owner and image nobody named."""
    if trust.at is not None or trust.nonce is not None:
        hint = "leave out --at and --nonce: every session holds its own challenge and time"
        need = Failure("time", "a time or a nonce for archived sessions", "neither", hint)
        return Verdict(file, KIND, Outcome.INCOMPLETE, (), need)
    try:
        rows = verdict.verify(data, anchors=_anchors(trust))
    except VerificationError as error:
        return Verdict(file, KIND, Outcome.NOT_AUTHENTIC, (), Failure.of(error))
    lines = tuple(
        Line("compliance", number, row.result.value, _text(row))
        for number, row in enumerate(rows, start=1)
    )
    facts: dict[str, str | int | bool] = {
        result.value: sum(row.result is result for row in rows) for result in Result
    }
    facts |= {"bundle sha256": sha256(data).hexdigest()}
    notes: tuple[str, ...] = ("judged as archived, each document at its own time",)
    if any(row.emulated for row in rows):
        notes += (EMULATED,)
    outcome, failure = _outcome(rows)
    return Verdict(file, KIND, outcome, lines, failure, notes, facts)


def _anchors(trust: Trust) -> Anchors | None:
    if trust.root is None or trust.owner is None or trust.pcrs is None:
        return None
    return Anchors(trust.root, trust.owner.public_bytes_raw(), trust.pcrs)


def _text(row: Row) -> str:
    said = f"{row.checked} {row.evidence}" if row.result is Result.PROVEN else row.detail
    return f"{row.property}{' (emulated)' if row.emulated else ''}: {said}"


def _outcome(rows: Sequence[Row]) -> tuple[Outcome, Failure | None]:
    failed = [row for row in rows if row.result is Result.FAILED]
    forged = [row for row in failed if row.id not in ACCEPTANCE]
    for row in (*forged, *failed):
        outcome = Outcome.NOT_AUTHENTIC if forged else Outcome.NOT_ACCEPTABLE
        return outcome, Failure(row.id, row.detail, row.how)
    if any(row.id == "anchors" and row.result is not Result.PROVEN for row in rows):
        hint = "--authority and --measurements take the public.json and measurements.json you trust"
        found = "root, owner and image of the bundle's own"
        return Outcome.INCOMPLETE, Failure("anchors", found, "those that you trust", hint)
    return Outcome.VERIFIED, None
