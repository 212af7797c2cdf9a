"""The enclave's own times: those in record lines against those in the statements that it signed.

A metric without lines is passed over: which lines there are, the enclave has signed a digest of.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from bench.records import Observation
from enclave.wire.errors import VerificationError

Body = Mapping[str, object]


def check(sessions: Sequence[Sequence[Body]], observations: Iterable[Observation]) -> None:
    """VerificationError names the first kind of time that the enclave did not sign like this.

    sessions: for each session of a boot the bodies of its statements. Probes share one, and after
    one that failed another.

    1. inference: all of one session, in order, but for its first request, which has no line
    2. stages of the start, in order, when they began, and the key's release among them
    3. issue of receipts: all that one statement is about, in order
    4. documents and keys: each the time of another session
    """
    lines = _lines(observations)
    bodies = [body for session in sessions for body in session]
    inferred = lines.get("inference_latency")
    if inferred and inferred not in [_inferred(session)[1:] for session in sessions]:  # 1
        raise _unlike("inference times", inferred)
    stages = next(filter(None, map(_stages, bodies)), ())
    launch, *elapsed = lines.get("cold_start_stage") or [0]
    _same("start-up stages", elapsed, [row[1] for row in stages])  # 2
    begun = [begin - launch for begin in lines.get("cold_start_begin", [])[1:]]
    _same("start-up beginnings", begun, [row[2] for row in stages])
    released = [row[1] for row in stages if row[0] == "key_release"]
    _same("key release", lines.get("key_release"), released)
    issued = lines.get("receipt_issue")
    if issued and issued not in [list(_series(body, "signed")) for body in bodies]:  # 3
        raise _unlike("receipt times", issued)
    for metric, stage in (("attestation_generation", "attested"), ("session_setup", "keyed")):
        first = [session[0] for session in sessions if session]
        signed = [_map(body, "session_ns").get(stage, 0) for body in first]
        if rest := Counter(lines.get(metric)) - Counter(signed):  # 4
            raise _unlike(f"times of {stage}", sorted(rest))


def _inferred(session: Sequence[Body]) -> list[int]:
    return [value for body in session for value in _series(body, "inferred")]


def _lines(observations: Iterable[Observation]) -> dict[str, list[int]]:
    """What the enclave is said to have measured, by metric, in nanoseconds."""
    lines: dict[str, list[int]] = {}
    for seen in observations:
        if seen.side == "enclave" and dict(seen.at).get("part", "enclave") == "enclave":
            lines.setdefault(seen.metric, []).append(round(seen.value * 1e6))
    return lines


def _stages(body: Body) -> Sequence[Sequence[Any]]:
    rows = body.get("boot_ns")
    return rows if isinstance(rows, list) else ()


def _series(body: Body, moment: str) -> Sequence[int]:
    series = _map(body, "requests_ns").get(moment, ())
    return series if isinstance(series, Sequence) else ()


def _map(body: Body, name: str) -> Mapping[str, int]:
    value = body.get(name)
    return value if isinstance(value, Mapping) else {}


def _same(what: str, found: Sequence[int] | None, signed: Sequence[int | None]) -> None:
    if found and list(found) != list(signed):
        raise _unlike(what, found)


def _unlike(what: str, found: Sequence[int]) -> VerificationError:
    return VerificationError(
        f"own {what}", found=f"{len(found)} in the lines", expected="those that the enclave signed"
    )
