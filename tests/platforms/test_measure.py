"""A measured tier, small and real: its records, its evidence, and every way to tamper with them."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from bench import measure, records
from bench.analysis import evidence
from bench.emulators.estate import Public
from bench.measure import boot as boots
from bench.measure.job import Job
from bench.measure.kept import Boot
from bench.platforms import SIDES, local
from bench.probes import (
    boot,
    compliance,
    handshake,
    load,
    memory,
    padding,
    receipt,
    release,
    transport,
)
from bench.probes import request as requests
from enclave.wire.errors import VerificationError
from enclave.wire.frames import HEADER
from enclave.wire.records import TAG_BYTES


def check(files: local.Files, folder: Path, tier: int = 1) -> list[evidence.Checked]:
    return evidence.check_all(
        records=[folder / f"tier{tier}.jsonl"],
        evidence=[folder / f"tier{tier}.evidence.cbor"],
        measurements=files.measurements,
        manifests=[files.sealed / "manifest.cose"],
        authority=files.state / "public.json",
        out=folder / "evidence.csv",
    )


TIERS: dict[str, tuple[ModuleType, ...]] = {
    "job": (boot, load, memory, requests, transport),
    "security": (compliance, handshake, padding, receipt, release),
}


@pytest.mark.parametrize("tier", TIERS)
def test_every_probe_says_what_it_declares(tier: str, request: pytest.FixtureRequest) -> None:
    job: Job = request.getfixturevalue(tier)
    found = {observation.metric for observation in records.read(job.records).observations}
    assert found == {name for probe in TIERS[tier] for name in probe.METRICS}


def test_sides_take_turns_in_mirrored_blocks(job: Job) -> None:
    found = [
        observation
        for observation in records.read(job.records).observations
        if observation.metric == "request_latency" and observation.boot == 0
    ]
    turns = [found[start : start + 8] for start in range(0, len(found), 8)]
    assert len(turns) == 3 * 2  # blocks with the warm-up, and lengths
    for turn in turns:
        order = [observation.side for observation in turn]
        assert order[4:] == order[3::-1] and sorted(order[:4]) == sorted(SIDES)
        assert len({(observation.block, observation.at) for observation in turn}) == 1
    assert [turn[0].warmup for turn in turns] == [True, True, False, False, False, False]


def test_the_whole_chain_holds(job: Job, files: local.Files) -> None:
    (row,) = check(files, job.records.parent)
    requests = 1 + (1 + 2) * 2 * 2  # the first, then blocks with the warm-up, lengths, both ways
    load = 2 * (4 + 4)  # two runs of one session and of two
    assert (row.boots, row.sessions) == (2, 2 * (1 + 2 * (1 + 2)))
    assert row.receipts == 2 * (requests + load)
    assert "verified" in (job.records.parent / "evidence.csv").read_text()


def test_the_chain_holds_for_sessions_and_receipts(security: Job, files: local.Files) -> None:
    (row,) = check(files, security.records.parent, tier=4)
    each = 2 * (1 + 1)  # blocks with the warm-up, both ways
    paddings = 2  # sizes, each beside a session that is not padded
    assert (row.boots, row.sessions) == (1, 1 + each + paddings)
    assert row.receipts == each + each + paddings * each  # sessions, receipts, padding


def test_padding_fills_answers_up_to_its_buckets(security: Job) -> None:
    sizes: dict[tuple[str, object], set[float]] = {}
    for seen in records.read(security.records).observations:
        if seen.metric == "answer_size":
            place = seen.side, dict(seen.at)["bucket_bytes"]
            sizes.setdefault(place, set()).add(seen.value)
    assert sizes["padded", 4096] == {HEADER.size + 4096 + TAG_BYTES}
    assert max(sizes["padded", 0] | sizes["enclave", 0] | sizes["enclave", 4096]) < 2048


def test_a_boot_that_was_measured_survives_a_kill(
    job: Job, machine: local.Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "rep1"
    again = replace(job, records=folder / "tier1.jsonl", evidence=folder / "tier1.evidence.cbor")
    line = records.encode(records.Observation("peak_rss", "plain", 0, 0, 0, 1.5))
    measured: list[int] = []
    killed = True

    def once(_: object, job: Job, number: int, probes: list[str], *__: object) -> Boot:
        if killed and number == 1:
            raise KeyboardInterrupt
        measured.append(number)
        lines = [line.replace('"boot":0', f'"boot":{number}')]
        return Boot(probes, lines, [], {"boot": number})

    monkeypatch.setattr(boots, "measured", once)
    with pytest.raises(KeyboardInterrupt):
        measure.tier(machine, again)
    assert not again.records.exists()
    killed = False
    measure.tier(machine, again)
    assert measured == [0, 1]
    assert [found.boot for found in records.read(again.records).observations] == [0, 1]
    assert sorted(path.name for path in folder.iterdir()) == ["tier1.evidence.cbor", "tier1.jsonl"]


def test_a_boot_under_other_circumstances_is_not_used(
    job: Job, machine: local.Machine, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    measured: list[int] = []

    def failing(_: object, job: Job, number: int, probes: list[str], *__: object) -> Boot:
        if number == 1:
            raise KeyboardInterrupt
        measured.append(job.seed)
        return Boot(probes, [], [], {})

    monkeypatch.setattr(boots, "measured", failing)
    for seed in (1, 2):
        with pytest.raises(KeyboardInterrupt):
            measure.tier(machine, replace(job, seed=seed, records=tmp_path / "r" / "tier1.jsonl"))
    assert measured == [1, 2]


def edited(line: int, edit: Callable[[dict[str, object]], None]) -> Callable[[list[str]], None]:
    def apply(lines: list[str]) -> None:
        fields = json.loads(lines[line])
        edit(fields)
        lines[line] = json.dumps(fields, separators=(",", ":"))

    return apply


def first_of(lines: list[str], metric: str) -> int:
    return next(number for number, line in enumerate(lines) if f'"metric":"{metric}"' in line)


@pytest.mark.attack(29)
@pytest.mark.parametrize(
    ("spoil", "step"),
    [
        (edited(1, lambda fields: fields.update(value=1.0)), "record lines"),
        (edited(0, lambda fields: fields["context"].update(model="other")), "plan identity"),  # type: ignore[attr-defined]
        (lambda lines: lines.pop(), "record lines"),
        (lambda lines: lines.append(lines[-1]), "record lines"),
        (lambda lines: lines.insert(1, lines.pop(2)), "record lines"),
    ],
    ids=["value", "context", "dropped", "added", "moved"],
)
def test_an_edited_record_is_refused_by_name(
    job: Job,
    files: local.Files,
    tmp_path: Path,
    spoil: Callable[[list[str]], None],
    step: str,
) -> None:
    for path in (job.records, job.evidence):
        shutil.copy(path, tmp_path / path.name)
    lines = job.records.read_text().splitlines()
    spoil(lines)
    (tmp_path / "tier1.jsonl").write_text("".join(f"{line}\n" for line in lines))
    with pytest.raises(VerificationError, match=step):
        check(files, tmp_path)
    assert not (tmp_path / "evidence.csv").exists()


def test_any_flipped_byte_of_the_evidence_is_refused(
    job: Job, files: local.Files, tmp_path: Path
) -> None:
    shutil.copy(job.records, tmp_path / job.records.name)
    data = job.evidence.read_bytes()
    for at in range(0, len(data), max(1, len(data) // 60)):
        spoiled = bytearray(data)
        spoiled[at] ^= 4
        (tmp_path / job.evidence.name).write_bytes(spoiled)
        with pytest.raises(VerificationError):
            check(files, tmp_path)
            pytest.fail(f"byte {at} of {len(data)} may be changed unseen")


def test_another_root_is_refused(job: Job, files: local.Files, tmp_path: Path) -> None:
    parties = json.loads((files.state / "public.json").read_text())
    parties["owner"] = bytes(32).hex()
    (tmp_path / "public.json").write_text(json.dumps(parties))
    assert Public.read(tmp_path).owner == bytes(32).hex()
    with pytest.raises(VerificationError):
        evidence.check_all(
            records=[job.records],
            evidence=[job.evidence],
            measurements=files.measurements,
            manifests=[files.sealed / "manifest.cose"],
            authority=tmp_path / "public.json",
        )
