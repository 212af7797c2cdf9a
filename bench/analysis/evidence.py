"""Walk the evidence chain of published records, offline, and fail on any edit.

For each records file:

1. the context's plan has the identity it states
2. the plan names the measurements that the image build wrote, and a model its owner signed
3. every session's attestation document is authentic under the root and acceptable for these
   measurements, at the document's own time
4. its claims name a receipt key, the plan's settings and the plan's model manifest
5. every receipt is signed by that key and fits session, model and measurements, in order
6. every statement continues the chain and states the receipts' number and head
7. one statement a boot commits to the boot's record lines, byte for byte
8. the enclave's own times in these lines are the ones it signed
"""

from __future__ import annotations

import csv
import io
import json
from collections.abc import Container, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench import files
from bench import records as recorded
from bench.analysis import own_times
from bench.image.measurements import read as read_measurements
from bench.verify import AWS_ROOT_SHA256, Policy, nitro
from bench.verify.evidence import Expected, examine
from bench.verify.sessions import Evidence, statements
from enclave.wire import cbor, receipt
from enclave.wire.errors import RemoteProtocolError, VerificationError
from enclave.wire.manifest import verify_manifest

PER_BOOT = ("identity", "per_boot", "schema")  # in the context, but not in the plan
MAX_BYTES = 1 << 30


@dataclass(frozen=True, slots=True)
class Checked:
    """What one records file's evidence amounts to."""

    record: str
    boots: int
    sessions: int
    receipts: int
    statements: int


def check(path: Path, evidence: Path, policy: Policy, models: Container[str]) -> Checked:
    """Steps 1 to 8 for one records file; VerificationError or RecordError names what is wrong.

    `models` holds the manifest digests (hex) that the owner signed.
    """
    found = recorded.read(path)
    plan = {name: value for name, value in found.context.items() if name not in PER_BOOT}
    identity = recorded.identity(plan)
    _same("plan identity", found.context.get("identity"), identity)  # (1)
    pcrs = {str(index): value.hex() for index, value in sorted(policy.pcrs.items())}
    _same("measurements", plan.get("pcrs"), pcrs)  # (2)
    if plan.get("manifest_digest") not in models:
        raise VerificationError(
            "model manifest", found=plan.get("manifest_digest"), expected="one its owner signed"
        )
    boots = read(evidence)
    _enough(boots, plan.get("boots"))
    every = lines(path)
    totals = Checked(str(path), len(boots), 0, 0, 0)
    for number, sessions in enumerate(boots):
        ours = [(line, record) for line, record in every if record.boot == number]
        signed = [_session(session, plan, policy) for session in sessions]
        if not any(signed):
            raise VerificationError(
                "boots", found=f"nothing signed in boot {number}", expected="a main session"
            )
        _committed(signed, recorded.digest(identity, [line for line, _ in ours]))
        own_times.check(signed, recorded.counted([record for _, record in ours]))  # (8)
        totals = replace(
            totals,
            sessions=totals.sessions + len(sessions),
            receipts=totals.receipts + sum(len(session.receipts) for session in sessions),
            statements=totals.statements + sum(len(session.statements) for session in sessions),
        )
    return totals


def check_all(
    *,
    records: Sequence[Path],
    evidence: Sequence[Path],
    measurements: Path,
    manifests: Sequence[Path],
    authority: Path,
    out: Path | None = None,
) -> list[Checked]:
    """Every records file against the image, the owner's manifests and the root in `authority`.

    Writes one row a file to `out`, where given, and only if all of them hold.
    """
    parties = json.loads(authority.read_text())
    policy = trusted(measurements, parties)
    owner = Ed25519PublicKey.from_public_bytes(bytes.fromhex(parties["owner"]))
    models = {verify_manifest(path.read_bytes(), owner)[1].hex() for path in manifests}
    rows = [
        check(path, signed, policy, models) for path, signed in zip(records, evidence, strict=True)
    ]
    if out is not None:
        lines = [asdict(row) | {"verdict": "verified"} for row in rows]
        text = io.StringIO(newline="")
        writer = csv.DictWriter(text, list(lines[0]), lineterminator="\n")
        writer.writeheader()
        writer.writerows(lines)
        files.replace(out, text.getvalue().encode())
    return rows


def trusted(measurements: Path, parties: Mapping[str, str]) -> Policy:
    """The policy that a build's measurements and a platform's root make; emulated, if not AWS's."""
    built = read_measurements(measurements)
    root = bytes.fromhex(parties["root"])
    digest = bytes.fromhex(parties["root_sha256"])
    return Policy(digest, root, built.pcrs, emulated=digest != AWS_ROOT_SHA256)


def lines(path: Path) -> list[tuple[str, recorded.Observation | recorded.Failure]]:
    """The lines of a records file after its context, as they stand there and as they read."""
    numbered = enumerate(path.read_text().splitlines()[1:], start=2)
    return [(line, recorded.decode(path, number, json.loads(line))) for number, line in numbered]


def read(path: Path) -> list[list[Evidence]]:
    """Sessions per boot, in the order they were opened."""
    try:
        fields = cbor.decode(path.read_bytes(), max_bytes=MAX_BYTES)
        if type(fields) is not dict or fields.get("schema") != 1:
            raise RemoteProtocolError("not an evidence file of schema 1")
        return [[Evidence.decode(session) for session in boot] for boot in fields["boots"]]
    except (RemoteProtocolError, KeyError, TypeError) as error:
        raise VerificationError(
            "evidence file", found=error, expected=f"sessions in {path}"
        ) from None


def _session(
    session: Evidence, plan: Mapping[str, object], policy: Policy
) -> list[Mapping[str, object]]:
    """Steps 3 to 6: the bodies of a session's statements, all verified."""
    expected = Expected(
        policy=policy,
        settings_digest=_digest(plan, "settings_digest"),
        manifest_digest=_digest(plan, "manifest_digest"),
        model=str(plan.get("model")),
        weights_sha256=_digest(plan, "weights_sha256"),
        security_mode=str(plan.get("security_mode")),
    )
    attested, claims, _ = examine(  # (3) and (4)
        session.document, expected, session.challenge, nitro.claimed_time(session.document)
    )
    key = Ed25519PublicKey.from_public_bytes(claims.receipt_key)
    wanted = expected.receipts(attested, session.document, session.challenge)
    for sequence, signed in enumerate(session.receipts):  # (5)
        receipt.verify(signed, key, expected=replace(wanted, sequence=sequence))
    return list(statements(session, key))  # (6)


def _digest(plan: Mapping[str, object], name: str) -> bytes:
    try:
        digest = bytes.fromhex(str(plan.get(name)))
    except ValueError:
        digest = b""
    if len(digest) != 32:
        raise VerificationError(
            "plan identity", found=f"{name} {plan.get(name)}", expected="64 hex digits"
        )
    return digest


def _enough(boots: Sequence[object], wanted: object) -> None:
    """A probe that failed runs again in further boots, so there may be more than were asked for."""
    if type(wanted) is not int or len(boots) < wanted:
        raise VerificationError("boots", found=len(boots), expected=f"at least {wanted}")


def _committed(signed: Sequence[Sequence[Mapping[str, object]]], digest: bytes) -> None:
    commitments = {body.get("records") for bodies in signed for body in bodies}
    if digest not in commitments:  # (7)
        raise VerificationError(
            "record lines",
            found=digest.hex(),
            expected="a digest the enclave signed",
            hint="a line was changed, added, removed or moved after it was measured",
        )


def _same(step: str, found: object, expected: object) -> None:
    if found != expected:
        raise VerificationError(step, found=found, expected=expected)
