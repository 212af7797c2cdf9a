"""Walk a compliance bundle, offline: each security property of the run as one checked row.

Nothing passes on presence alone: a row is proven by a check that could have failed, and says how
many things it looked at. One that rests on a row that does not hold is not proven.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from bench.verify.compliance import Anchors, Result, Row, run_checks, session_checks
from bench.verify.compliance.bundle import Bundle
from bench.verify.compliance.properties import PROPERTIES, UNPROVABLE, Property
from bench.verify.compliance.walk import Found, Walk
from enclave.wire.errors import VerificationError

CHECKS: Mapping[str, Callable[[Walk], Found]] = {
    "attestation": session_checks.attestation,
    "hardware": session_checks.hardware,
    "image": session_checks.image,
    "challenge": session_checks.challenge,
    "transport": session_checks.transport,
    "receipts": session_checks.receipts,
    "completeness": session_checks.completeness,
    "boots": run_checks.boots,
    "model": run_checks.model,
    "immutability": run_checks.immutability,
    "key-release": run_checks.key_release,
    "key-policy": run_checks.key_policy,
    "settings": run_checks.settings,
    "records": run_checks.records,
    "anchors": run_checks.anchors,
}


def verify(data: bytes, *, anchors: Anchors | None = None) -> tuple[Row, ...]:
    """A row for each property, in the order of `properties`; VerificationError if it is no bundle.

    1. the file is a bundle: closed, deterministic, with something left behind in every boot
    2. each property is checked; what rests on one that does not hold is not proven
    3. what no bundle can prove follows, each with the reason
    """
    bundle = Bundle.decode(data)  # 1
    walk = Walk.start(bundle, anchors)
    rows: dict[str, Row] = {}
    for asked in PROPERTIES:  # 2
        rows[asked.id] = _judge(asked, walk, rows)
    rest = [
        Row(name, text, "", Result.NOT_PROVEN, 0, "", why, emulated=False)
        for name, (text, why) in UNPROVABLE.items()
    ]
    return (*rows.values(), *rest)  # 3


def _judge(asked: Property, walk: Walk, before: Mapping[str, Row]) -> Row:
    unmet = [name for name in asked.rests if before[name].result is not Result.PROVEN]
    emulated = walk.emulated and asked.vouched
    evidence, detail, checked = "", "", 0
    if unmet:
        result, detail = Result.NOT_PROVEN, f"it rests on: {', '.join(unmet)}"
    else:
        try:
            found = CHECKS[asked.id](walk)
        except VerificationError as error:
            result, detail = Result.FAILED, str(error).partition("\n")[0]
        else:
            result, detail = Result.NOT_PROVEN, found.why_not
            if not found.why_not:
                result, checked, evidence = Result.PROVEN, found.checked, found.evidence
    return Row(asked.id, asked.text, asked.how, result, checked, evidence, detail, emulated)
