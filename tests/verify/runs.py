"""A whole run in a bundle: two boots of two sessions, honest but for what a test changes.

What is changed is signed anew, so only the rule under test can refuse it. `Changes` apply to the
last session, or to the bundle as a whole.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from bench.verify.compliance import Anchors
from bench.verify.compliance.bundle import Boot, Bundle, Run
from bench.verify.sessions import Evidence
from enclave.wire import batch, cbor, receipt
from enclave.wire.manifest import verify_manifest
from enclave.wire.messages import Claims
from tests.verify import exhibits, forge

OWNER = exhibits.OWNER
KEY_ARN = "arn:aws:kms:local-1:000000000000:key/0"
SEALER = "arn:aws:iam::000000000000:role/owner"
SETTINGS = b"\x0b" * 32
RECORDS = [b"\x51" * 32, b"\x52" * 32]
STAGES: list[object] = [["import", 9, 0], ["attest", 5, 1], ["key_release", 7, 6], ["load", 3, 9]]
MANIFEST = exhibits.signed_manifest(key_arn=KEY_ARN)
DIGEST = verify_manifest(MANIFEST, OWNER.public_key())[1]


def same(value: Any) -> Any:
    return value


@dataclass(frozen=True)
class Changes:
    """What to do to a part before it is signed; `left` and `bundle` to what was signed."""

    fields: Callable[[dict[str, Any]], dict[str, Any]] = same
    claims: Callable[[Claims], Claims] = same
    receipt: Callable[[receipt.Receipt], receipt.Receipt] = same
    body: Callable[[dict[str, object]], dict[str, object]] = same
    left: Callable[[Evidence], Evidence] = same
    bundle: Callable[[Bundle], Bundle] = same
    boots: int = 2
    one_key: bool = False
    mode: str = "evaluation"

    def everywhere(self) -> Changes:
        """Those that apply to all sessions alike."""
        return Changes(one_key=self.one_key, mode=self.mode)


HONEST = Changes()


def make(changes: Changes = HONEST, platform: str = "local") -> Bundle:
    """The bundle before it is written."""
    boots = []
    for boot in range(changes.boots):
        last = boot == changes.boots - 1
        pairs = [(0, changes.everywhere()), (1, changes if last else changes.everywhere())]
        boots.append(Boot(RECORDS[boot], [_session(boot, n, made) for n, made in pairs]))
    honest = Bundle(
        platform=platform,
        pcrs=forge.PCRS,
        root=forge.root().der,
        owner=OWNER.public_key().public_bytes_raw(),
        key_arn=KEY_ARN,
        key_policy=policy(),
        sealers=[SEALER],
        manifest=MANIFEST,
        runs=[Run("rep1/tier1", boots)],
    )
    return changes.bundle(honest)


def anchors(**changes: Any) -> Anchors:
    """Those of an honest bundle, some changed."""
    owner = OWNER.public_key().public_bytes_raw()
    return replace(Anchors(forge.root().der, owner, forge.PCRS), **changes)


def policy(*, pcr0: bytes | None = forge.PCRS[0], actions: Sequence[str] = ("kms:Decrypt",)) -> str:
    """Its sealer may make data keys; some role may do `actions` from the image with this PCR0."""
    seals: dict[str, object] = {
        "Sid": "Seals",
        "Effect": "Allow",
        "Principal": {"AWS": SEALER},
        "Resource": "*",
    }
    opens = seals | {"Sid": "Opens", "Action": list(actions)}
    opens["Principal"] = {"AWS": "arn:aws:iam::000000000000:role/instance"}
    if pcr0 is not None:
        measured = {"kms:RecipientAttestation:PCR0": pcr0.hex()}
        opens["Condition"] = {"StringEqualsIgnoreCase": measured}
    return json.dumps({"Statement": [seals | {"Action": "kms:GenerateDataKey"}, opens]})


def receipt_key(boot: int, *, one: bool = False) -> Ed25519PrivateKey:
    return Ed25519PrivateKey.from_private_bytes(bytes([0 if one else boot, 7] * 16))


def _session(boot: int, number: int, changes: Changes) -> Evidence:
    name = bytes([boot, number])
    key = receipt_key(boot, one=changes.one_key)
    claims = changes.claims(Claims(key.public_key().public_bytes_raw(), SETTINGS, DIGEST))
    channel = X25519PrivateKey.from_private_bytes(name * 16).public_key().public_bytes_raw()
    fields = {"nonce": name * 16, "public_key": channel, "user_data": claims.encode()}
    fields = changes.fields(forge.fields(**fields))
    document = forge.document(**fields)
    receipts = []
    for sequence in range(2):
        said = _receipt(document, fields, name + bytes([sequence]), sequence, changes.mode)
        receipts.append(receipt.issue(changes.receipt(said), key))
    body = changes.body({"boot_ns": STAGES, "records": RECORDS[boot] if number == 0 else b""})
    head = batch.chain(batch.chain(batch.START, receipts[0]), receipts[1])
    statement = batch.Statement(name * 8, 0, batch.START, 2, head, cbor.encode(body))
    left = Evidence(document, name * 16, name * 8, receipts, [batch.issue(statement, key)])
    return changes.left(left)


def _receipt(
    document: bytes, fields: Mapping[str, Any], name: bytes, sequence: int, mode: str
) -> receipt.Receipt:
    pcrs = fields["pcrs"]
    return receipt.Receipt(
        issuer="confbench",
        issued_at=int(forge.NOW.timestamp()),
        receipt_id=sha256(name).digest()[:16],
        nonce=fields["nonce"],
        model_id="tiny",
        model_version="1",
        model_hash=exhibits.WEIGHTS,
        request_hash=b"\x03" * 32,
        response_hash=b"\x04" * 32,
        attestation_hash=sha256(document).digest(),
        measurements=receipt.Measurements(pcrs[0], pcrs[1], pcrs[2]),
        policy_version=SETTINGS.hex(),
        sequence=sequence,
        execution_time_ms=1,
        memory_peak_mb=1,
        security_mode=mode,
        model_hash_scheme="sha256-single",
    )
