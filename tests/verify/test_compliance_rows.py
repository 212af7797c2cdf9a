"""For each property bundles in which it fails, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

from bench.verify.compliance import Anchors, Result, verdict
from bench.verify.compliance.bundle import Boot, Bundle
from bench.verify.compliance.properties import PROPERTIES
from enclave.wire import cbor, receipt
from tests.verify import exhibits, forge, runs
from tests.verify.runs import Changes


def over_key(value: bytes | None) -> Changes:
    return Changes(fields=lambda fields: fields | {"public_key": value})


def over_receipt(**changes: Any) -> Changes:
    return Changes(receipt=lambda said: replace(said, **changes))


def over_left(**changes: Callable[[Any], Any]) -> Changes:
    return Changes(
        left=lambda left: replace(
            left, **{name: change(getattr(left, name)) for name, change in changes.items()}
        )
    )


def over_bundle(**changes: Any) -> Changes:
    return Changes(bundle=lambda bundle: replace(bundle, **changes))


def over_stages(stages: object) -> Changes:
    return Changes(body=lambda body: body | {"boot_ns": stages})


def flipped(data: bytes) -> bytes:
    return data[:-1] + bytes([data[-1] ^ 1])


def last_flipped(items: Sequence[bytes]) -> list[bytes]:
    return [*items[:-1], flipped(items[-1])]


def other_pcr(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"pcrs": fields["pcrs"] | {0: b"\xa5" * 48}}


def debug(fields: dict[str, Any]) -> dict[str, Any]:
    return fields | {"pcrs": fields["pcrs"] | dict.fromkeys((0, 1, 2), bytes(48))}


def first_records(bundle: Bundle) -> Bundle:
    (run,) = bundle.runs
    boots = [Boot(b"\x00" * 32, run.boots[0].sessions), *run.boots[1:]]
    return replace(bundle, runs=[replace(run, boots=boots)])


def first_key(bundle: Bundle) -> bytes:
    document = bundle.runs[0].boots[0].sessions[0].document
    return forge.authenticate(document).public_key or b""


def used_before(bundle: Bundle) -> bytes:
    return bundle.runs[0].boots[0].sessions[0].challenge


HONEST_BUNDLE = runs.make()
ZERO_PCR = {**forge.PCRS, 1: bytes(48)}
LAST = "rep1/tier1, boot 1, session 1"

# Row; what is changed; what its detail has to say.
CASES: dict[str, tuple[str, Changes, str]] = {
    "signature of a document": (
        *("attestation", over_left(document=flipped)),
        f"signature: found a signature that does not match in {LAST}",
    ),
    "another root": (
        *("attestation", over_bundle(root=forge.forged_chain().certificate)),
        "root: found",
    ),
    "platform of the image": (
        *("hardware", over_bundle(platform="aws-nitro")),
        "platform: found aws-nitro, expected local",
    ),
    "another image": ("image", Changes(fields=other_pcr), "pcr 0: found a5a5"),
    "debug mode": ("image", Changes(fields=debug), "debug mode: found pcr 0 is zero"),
    "a measurement of zero": (
        *("image", over_bundle(pcrs=ZERO_PCR)),
        "policy pcrs: found pcr 1 is zero",
    ),
    "another challenge": ("challenge", over_left(challenge=flipped), "nonce: found 0101"),
    "a short challenge": (
        "challenge",
        over_left(challenge=lambda c: c[:16]),
        "challenge: found 16",
    ),
    "a challenge used before": (
        "challenge",
        Changes(
            fields=lambda fields: fields | {"nonce": used_before(HONEST_BUNDLE)},
            left=lambda left: replace(left, challenge=used_before(HONEST_BUNDLE)),
        ),
        "challenge: found 0000",
    ),
    "no session key": ("transport", over_key(None), "session key: found 0 bytes"),
    "a session key of zero": ("transport", over_key(bytes(32)), "session key: found weak"),
    "a session key used before": (
        *("transport", over_key(first_key(HONEST_BUNDLE))),
        "session key: found",
    ),
    "another protocol": (
        "transport",
        Changes(fields=lambda fields: fields | {"user_data": cbor.encode({1: "confbench/2"})}),
        "claims: found",
    ),
    "one key in two boots": ("boots", Changes(one_key=True), "receipt key: found"),
    "signature of a receipt": ("receipts", over_left(receipts=last_flipped), "SIG: found"),
    "a receipt for production": (
        "receipts",
        over_receipt(security_mode="production"),
        "SECURITY_M",
    ),
    "a receipt of another session": ("receipts", over_receipt(nonce=b"\x07" * 32), "NONCE: found"),
    "a receipt of another document": (
        *("receipts", over_receipt(attestation_hash=b"\x07" * 32)),
        "ADHASH: found",
    ),
    "a receipt of another image": (
        *("receipts", over_receipt(measurements=receipt.Measurements(*[b"\x05" * 48] * 3))),
        "MEASUREMENTS: found",
    ),
    "a receipt left out": (
        *("completeness", over_left(receipts=lambda receipts: receipts[:1])),
        f"receipts kept: found 1 in {LAST}, expected 2",
    ),
    "receipts in another order": (
        *("completeness", over_left(receipts=lambda receipts: receipts[::-1])),
        f"receipt number: found 1 in {LAST}, expected 0",
    ),
    "an id used before": (
        *("completeness", over_receipt(receipt_id=sha256(b"\0\0\0").digest()[:16])),
        "receipt id: found",
    ),
    "no statement": (
        "completeness",
        over_left(statements=lambda _: []),
        "receipts stated: found -1",
    ),
    "a session renamed": (
        *("completeness", over_left(session_id=flipped)),
        "statement session: found",
    ),
    "signature of a statement": (
        *("completeness", over_left(statements=last_flipped)),
        "statement signature: found",
    ),
    "receipts of another model": ("model", over_receipt(model_hash=b"\x07" * 32), "model weights"),
    "receipts of another name": ("model", over_receipt(model_id="huge"), "model: found huge"),
    "receipts of another version": ("model", over_receipt(model_version="2"), "model version"),
    "a manifest of another owner": (
        *("model", over_bundle(manifest=exhibits.signed_manifest(exhibits.ENCLAVE))),
        "manifest signature: found",
    ),
    "a manifest of another key": (
        *("model", over_bundle(manifest=exhibits.signed_manifest(key_arn="arn:other"))),
        "key of the manifest: found arn:other",
    ),
    "another model attested": (
        "immutability",
        Changes(claims=lambda claims: replace(claims, manifest_digest=b"\x07" * 32)),
        f"manifest digest: found {'07' * 32} in {LAST}",
    ),
    "no key released": ("key-release", over_stages(runs.STAGES[:2]), "key release: found"),
    "released before attested": (
        "key-release",
        over_stages(runs.STAGES[::-1]),
        "key release: found",
    ),
    "released in no time": (
        *("key-release", over_stages([["attest", 5, 1], ["key_release", 0, 6]])),
        "key release: found",
    ),
    "stages of another boot": (
        *("key-release", over_stages([["attest", 5, 2], ["key_release", 7, 7]])),
        "boot stages: found",
    ),
    "released while attesting": (
        *("key-release", over_stages([["attest", 5, 1], ["key_release", 7, 5]])),
        "key release: found",
    ),
    "stages of another type": ("key-release", over_stages("attest"), "key release: found"),
    "a key for everyone": (
        "key-policy",
        over_bundle(key_policy=runs.policy(pcr0=None)),
        "key policy",
    ),
    "a key for another image": (
        *("key-policy", over_bundle(key_policy=runs.policy(pcr0=b"\xa5" * 48))),
        "key policy statement Opens: found a5a5",
    ),
    "a key for no image": (
        *("key-policy", over_bundle(key_policy=runs.policy(actions=["kms:DescribeKey"]))),
        "key policy: found no statement to decrypt",
    ),
    "a sealer not named": ("key-policy", over_bundle(sealers=[]), "key policy no-image: found"),
    "no policy": ("key-policy", over_bundle(key_policy="{}"), "key policy unreadable: found"),
    "other settings": (
        "settings",
        Changes(claims=lambda claims: replace(claims, settings_digest=b"\x07" * 32)),
        "settings digest: found 0707",
    ),
    "a receipt with other settings": (
        *("settings", over_receipt(policy_version="07" * 32)),
        "settings of a receipt: found 0707",
    ),
    "other record lines": (
        "records",
        Changes(bundle=first_records),
        f"record lines: found {'00' * 32}",
    ),
}


@pytest.mark.parametrize("case", CASES)
def test_a_change_fails_its_own_row_and_no_other(case: str) -> None:
    row, changes, detail = CASES[case]
    made = runs.make(changes)
    trusted = Anchors(made.root, made.owner, made.pcrs)  # or they would fail as well
    rows = verdict.verify(made.encode(), anchors=trusted)
    found = {row.id: row.detail for row in rows if row.result is Result.FAILED}
    assert list(found) == [row], found
    assert found[row].startswith(detail), found[row]


def test_every_row_that_is_checked_has_a_bundle_in_which_it_fails() -> None:
    assert {row for row, _, _ in CASES.values()} | {"anchors"} == {row.id for row in PROPERTIES}
