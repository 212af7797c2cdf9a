"""New sessions, again and again: what proof, its check and the keys take, and what it adds up to.

All sides take turns in mirrored blocks; a side opens two sessions in a block, asks once in each and
ends it. The enclave's own times come from the statement that it signs over the session.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass

from bench.probes import ALL, Bed
from bench.records import Axes, Observation
from bench.verify.sessions import Evidence

METRICS = (
    "attestation_generation",
    "session_setup",
    "evidence_check",
    "evidence_size",
    "session_establishment",
    "one_request_session",
)
SERVERS = ALL

Found = tuple[str, float, Axes]  # metric, value in the catalogue's unit, axes


@dataclass(frozen=True, slots=True)
class Opened:
    """One session from dialling to its end: moments in ns of the client's clock, and its proof."""

    moments: Mapping[str, int]
    report: Mapping[str, object]
    evidence: Evidence | None

    def ms(self, since: str, until: str) -> float:
        return (self.moments[until] - self.moments[since]) / 1e6


def run(bed: Bed) -> Iterator[Observation]:
    """Milliseconds, and bytes of evidence; axes `tokens` of the one request, `part` of a set-up."""
    tokens = bed.workload.tokens[0]
    bed.progress("sessions")
    for block in range(-bed.workload.warmup, bed.workload.security_blocks):
        text = bed.text(tokens)
        for position, name in enumerate(bed.mirrored(ALL)):
            iteration = 2 * (block + bed.workload.warmup) + int(position >= len(ALL))
            for metric, value, at in _found(name, tokens, _session(bed, name, text)):
                yield Observation(metric, name, bed.boot, block, iteration, value, block < 0, at)


def _session(bed: Bed, name: str, text: str) -> Opened:
    moments: dict[str, int] = {}

    def mark(moment: str) -> None:
        moments[moment] = bed.clock_ns()

    mark("dialled")
    talk = bed.sides[name].talk(mark)
    mark("opened")
    talk.request(text)
    mark("answered")
    report = talk.report()
    talk.close()
    return Opened(moments, report, talk.evidence)


def _found(name: str, tokens: int, session: Opened) -> Iterator[Found]:
    yield "one_request_session", session.ms("dialled", "answered"), (("tokens", tokens),)
    if name != "null":
        yield "session_establishment", session.ms("dialled", "opened"), ()
    if name == "enclave" and session.evidence is not None:
        yield "evidence_check", session.ms("offered", "examined"), ()
        yield "evidence_size", len(session.evidence.document), ()
        own_ms = _own_ms(session.report)
        yield "attestation_generation", own_ms["attested"], ()
        yield "session_setup", session.ms("examined", "keyed"), (("part", "client"),)
        yield "session_setup", own_ms["keyed"], (("part", "enclave"),)


def _own_ms(report: Mapping[str, object]) -> dict[str, float]:
    """What the enclave measured of this session's handshake."""
    stages = report["session_ns"]
    if not isinstance(stages, Mapping):
        raise TypeError(f"session_ns is {type(stages).__name__}, expected a map")
    return {str(stage): elapsed_ns / 1e6 for stage, elapsed_ns in stages.items()}
