"""Probes that fail, on a real and tiny platform: nothing else is lost, and evidence holds."""

from __future__ import annotations

import sys
from collections.abc import Callable, Iterator, Mapping
from dataclasses import replace
from pathlib import Path
from types import ModuleType

import pytest

from bench import measure, records
from bench.measure import boot, kept
from bench.measure.job import Job
from bench.platforms import PlatformError, local
from bench.probes import Bed, memory
from bench.records import EVERY, Observation
from tests.platforms.conftest import WORKLOAD
from tests.platforms.test_measure import check

Run = Callable[[Bed], Iterator[Observation]]


@pytest.fixture
def probe(monkeypatch: pytest.MonkeyPatch) -> Callable[[Run], None]:
    """Puts a function in the place of a probe called `tried`, which yields `throughput`."""

    def put(run: Run) -> None:
        module = ModuleType("bench.probes.tried")
        vars(module).update(METRICS=("throughput",), SERVERS=("plain", "enclave"), run=run)
        monkeypatch.setitem(sys.modules, "bench.probes.tried", module)

    return put


@pytest.fixture
def asked(tmp_path: Path) -> Job:
    """Two boots of a probe that may fail, and of one after it that does not."""
    return Job(
        tier=1,
        instance="test",
        model="tiny",
        repetition=1,
        repetitions=1,
        boots=2,
        seed=1,
        code="",
        probes=["boot", "tried", "request"],
        workload=replace(WORKLOAD, blocks=1),
        records=tmp_path / "tier1.jsonl",
        evidence=tmp_path / "tier1.evidence.cbor",
    )


def value(bed: Bed, of: float = 1.0) -> Observation:
    return Observation("throughput", "enclave", bed.boot, 0, 0, of)


def breaks(bed: Bed) -> Iterator[Observation]:
    """In boot 0: after a value, with a request under way whose answer nobody took."""
    yield value(bed)
    if bed.boot == 0:
        bed.main["enclave"].request("a text")
        raise TimeoutError("no answer\nwithin 120 s, key 00112233445566778899aabbccddeeff")


def test_a_failure_takes_its_own_metrics_and_nothing_else(
    asked: Job, machine: local.Machine, files: local.Files, probe: Callable[[Run], None]
) -> None:
    probe(breaks)
    measure.tier(machine, asked)
    found = records.read(asked.records)
    (failure,) = found.failures
    assert (failure.metric, failure.side, failure.boot) == ("throughput", EVERY, 0)
    assert failure.reason == "TimeoutError: no answer within 120 s, key (left out)"
    assert {seen.boot for seen in found.observations if seen.metric == "request_latency"} == {0, 1}
    assert [seen.boot for seen in records.counted([*found.observations, failure])
            if seen.metric == "throughput"] == [1]  # fmt: skip
    (row,) = check(files, asked.records.parent)
    assert (row.boots, row.sessions) == (2, 3)  # boot 0 opened its main session twice


def test_the_next_run_measures_what_failed_and_keeps_every_line(
    asked: Job, machine: local.Machine, files: local.Files, probe: Callable[[Run], None]
) -> None:
    probe(breaks)
    measure.tier(machine, asked)
    before = asked.records.read_text().splitlines()[1:]
    measure.tier(machine, asked)
    after = asked.records.read_text().splitlines()[1:]
    assert after[: len(before)] == before
    assert [f'"boot":{2}' in line for line in after[len(before) :]] == [True]
    started = records.read(asked.records).context["per_boot"]
    assert isinstance(started, list)
    assert [boot["probes"] for boot in started] == [
        ["boot", "request"],
        ["boot", "tried", "request"],
        ["tried"],
    ]
    assert [boot["sides"] for boot in started[1:]] == [
        ["plain", "null", "bare", "enclave"],
        ["plain", "enclave"],
    ]
    assert check(files, asked.records.parent)[0].boots == 3
    assert [path.name for path in kept.folder(asked.records).iterdir()] == [kept.SHORT]


def test_a_server_that_goes_down_with_a_probe_costs_that_probe_alone(
    asked: Job,
    machine: local.Machine,
    files: local.Files,
    probe: Callable[[Run], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """The boot begins anew without it: nobody was left to sign what the others had found."""
    renew, called = boot.Sessions.renew, []

    def refused_once(sessions: boot.Sessions, sides: Mapping[str, boot.Server]) -> None:
        called.append(len(sides))
        if len(called) == 2:
            raise ConnectionRefusedError("nobody listens")
        renew(sessions, sides)

    monkeypatch.setattr(boot.Sessions, "renew", refused_once)
    probe(breaks)
    measure.tier(machine, replace(asked, boots=1))
    found = records.read(asked.records)
    assert [failure.reason for failure in found.failures] == [
        "TimeoutError: no answer within 120 s, key (left out)"
    ]
    assert "throughput" not in {seen.metric for seen in found.observations}
    assert check(files, asked.records.parent)[0].boots == 1


def test_what_measures_the_leavings_of_a_failed_probe_fails_with_it(
    asked: Job,
    machine: local.Machine,
    probe: Callable[[Run], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    probe(breaks)
    monkeypatch.setattr(memory, "NEEDS", ("tried",))
    again = replace(asked, boots=1, probes=["tried", "memory"])
    measure.tier(machine, again)
    reasons = {failure.metric: failure.reason for failure in records.read(asked.records).failures}
    assert reasons["peak_rss"] == "it measures what tried leaves, which failed"
    measure.tier(machine, again)
    started = records.read(asked.records).context["per_boot"]
    assert isinstance(started, list)
    assert started[1]["probes"] == ["tried", "memory"]


def test_a_server_that_does_not_start_ends_the_job(
    asked: Job,
    machine: local.Machine,
    probe: Callable[[Run], None],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    def serve(_: local.Machine, side: str) -> None:
        raise PlatformError(f"{side} does not start")

    probe(breaks)
    monkeypatch.setattr(local.Machine, "serve", serve)
    with pytest.raises(PlatformError, match="does not start"):
        measure.tier(machine, asked)
    assert not asked.records.exists()


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (ValueError("a\n b"), "ValueError: a b"),
        (ValueError("x " * 400), f"ValueError: {'x ' * 112}x..."),
        (ValueError("token " + "ab/+" * 20), "ValueError: token (left out)"),
        (OSError(104, "reset"), "ConnectionResetError: [Errno 104] reset"),
        (ValueError("bell \a"), r"ValueError: bell \x07"),
    ],
    ids=["lines", "long", "secret", "system", "control"],
)
def test_a_reason_is_one_bounded_line_without_secrets(error: Exception, expected: str) -> None:
    assert boot.reason(error) == expected
