"""What a compliance bundle proves, and what it does not."""

from __future__ import annotations

from dataclasses import replace
from hashlib import sha256
from typing import Any

import pytest

import bench.verify
from bench.verify import nitro
from bench.verify.compliance import Anchors, Result, Row, verdict, walk
from bench.verify.compliance.bundle import Boot, Bundle, Run
from bench.verify.compliance.properties import PROPERTIES, UNPROVABLE
from enclave.wire import batch
from tests.verify import forge, runs
from tests.verify.runs import Changes

# Documents, boots, receipts, and both of the latter: what an honest run of the tests has.
HONEST = {
    "attestation": 4,
    "image": 4,
    "challenge": 4,
    "transport": 4,
    "boots": 2,
    "receipts": 8,
    "completeness": 8,
    "model": 8,
    "immutability": 2,
    "key-release": 2,
    "key-policy": 2,
    "settings": 12,
    "records": 2,
    "anchors": 5,
}


def judge(changes: Changes = runs.HONEST, anchors: Anchors | None = None) -> dict[str, Row]:
    data = runs.make(changes).encode()
    return {row.id: row for row in verdict.verify(data, anchors=anchors or runs.anchors())}


def failed(rows: dict[str, Row]) -> dict[str, str]:
    return {name: row.detail for name, row in rows.items() if row.result is Result.FAILED}


def test_an_honest_run_is_proven_and_says_how_many_things_were_looked_at() -> None:
    rows = judge()
    assert list(rows) == [*(asked.id for asked in PROPERTIES), *UNPROVABLE]
    assert failed(rows) == {}
    proven = {name: row.checked for name, row in rows.items() if row.result is Result.PROVEN}
    assert proven == HONEST
    assert all(rows[name].evidence for name in proven)


def test_the_seven_properties_of_the_milestone_report_have_a_row_each() -> None:
    """Its section 5, in its order."""
    asked = ["attestation", "key-release", "model", "transport", "receipts", "zeroization"]
    assert set(asked) | {"immutability"} <= set(judge())


@pytest.mark.parametrize(
    "given",
    [
        {"root": b"another"},
        {"owner": bytes(32)},
        {"pcrs": {**forge.PCRS, 2: b"\xa5" * 48}},
        {"pcrs": {}},
    ],
    ids=["root", "owner", "image", "no image"],
)
def test_what_the_reviewer_does_not_trust_fails_its_row_alone(given: dict[str, Any]) -> None:
    assert list(failed(judge(anchors=runs.anchors(**given)))) == ["anchors"]


def test_without_anchors_their_row_is_not_proven() -> None:
    rows = {row.id: row for row in verdict.verify(runs.make().encode())}
    assert rows["anchors"].result is Result.NOT_PROVEN
    assert rows["anchors"].detail.startswith("they are the bundle's own")
    assert failed(rows) == {}


@pytest.mark.attack(48)
@pytest.mark.parametrize("name", UNPROVABLE)
def test_what_no_bundle_can_prove_is_never_proven_and_says_why(name: str) -> None:
    row = judge()[name]
    assert (row.result, row.checked) == (Result.NOT_PROVEN, 0)
    assert row.detail


def test_what_rests_on_a_row_that_failed_is_not_proven_and_names_it() -> None:
    rows = judge(Changes(left=lambda left: replace(left, document=left.document[:-1] + b"\0")))
    resting = [asked for asked in PROPERTIES if "attestation" in asked.rests]
    assert resting
    for asked in resting:
        assert rows[asked.id].result is Result.NOT_PROVEN
        assert rows[asked.id].detail == "it rests on: attestation"


def test_one_boot_says_nothing_of_what_stays_the_same_across_boots() -> None:
    rows = judge(Changes(boots=1))
    assert rows["immutability"].result is Result.NOT_PROVEN
    assert rows["immutability"].detail.startswith("there is one boot")
    assert failed(rows) == {}


def test_a_run_without_receipts_proves_nothing_of_receipts() -> None:
    def forget(bundle: Bundle) -> Bundle:
        (run,) = bundle.runs
        for seen in (seen for boot in run.boots for seen in boot.sessions):
            seen.receipts.clear()
        return bundle

    rows = judge(Changes(bundle=forget))
    assert rows["receipts"].result is Result.NOT_PROVEN
    assert rows["receipts"].detail == "no session left a receipt"
    assert {"receipts", "completeness", "model", "settings", "records", "key-release"}.isdisjoint(
        name for name, row in rows.items() if row.result is Result.PROVEN
    )


@pytest.mark.attack(49)
def test_an_emulator_s_word_is_marked_as_such_and_proves_no_hardware() -> None:
    rows = judge()
    unmarked = {name for name in HONEST if not rows[name].emulated}
    assert unmarked == {"key-policy", "anchors"}
    assert rows["hardware"].result is Result.NOT_PROVEN
    assert rows["hardware"].detail.startswith("an emulator signed these documents")


def test_under_the_root_of_aws_nothing_is_marked_emulated(monkeypatch: pytest.MonkeyPatch) -> None:
    """No test can sign under that root, so the one of the tests takes its place."""
    for module in (bench.verify, nitro, walk):
        monkeypatch.setattr(module, "AWS_ROOT_SHA256", sha256(forge.root().der).digest())
    real = runs.make(Changes(mode="production"), platform="aws-nitro")
    rows = {row.id: row for row in verdict.verify(real.encode(), anchors=runs.anchors())}
    assert {name for name, row in rows.items() if row.result is Result.PROVEN} == {
        *("hardware", *HONEST),
    }
    assert not any(row.emulated for row in rows.values())
    emulated = {row.id: row for row in verdict.verify(runs.make().encode())}
    assert {"hardware", "receipts"} == set(failed(emulated))


def test_statements_of_several_parts_of_a_session_are_one_chain() -> None:
    """An honest second statement, so that the walk of a chain is not of one link only."""
    key = runs.receipt_key(1)

    def more(left: Any) -> Any:
        first = batch.verify(left.statements[0], key.public_key())
        follows = replace(first, index=1, previous=sha256(left.statements[0]).digest())
        return replace(left, statements=[*left.statements, batch.issue(follows, key)])

    rows = judge(Changes(left=more))
    assert failed(rows) == {}
    assert rows["completeness"].evidence == "receipts under 5 signed statements"


def test_a_signed_body_may_hold_anything() -> None:
    odd = {"records": [[1]], "further": {"a": [None, True, -1.5]}}
    assert failed(judge(Changes(body=lambda body: body | odd))) == {}


def test_measuring_jobs_may_have_settings_of_their_own() -> None:
    other = b"\x07" * 32
    changes = Changes(
        claims=lambda claims: replace(claims, settings_digest=other),
        receipt=lambda said: replace(said, policy_version=other.hex()),
        body=lambda body: body | {"records": runs.RECORDS[1]},
    )
    made = runs.make(changes)
    first, second = made.runs[0].boots
    alone = Boot(second.records, second.sessions[1:])
    apart = replace(made, runs=[Run("rep1/tier1", [first]), Run("rep1/tier5", [alone])])
    rows = {row.id: row for row in verdict.verify(apart.encode(), anchors=runs.anchors())}
    assert failed(rows) == {}
    assert rows["settings"].evidence.endswith(f"{other.hex()}, {runs.SETTINGS.hex()}")
