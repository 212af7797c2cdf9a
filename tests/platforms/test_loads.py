"""Probes that put load on servers, small and real: what they leave is whole and holds."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from bench import records
from bench.analysis import evidence
from bench.measure.job import Job
from bench.platforms import local
from bench.probes import long_load, open_loop, relay, saturation, scaling
from bench.records import Observation
from tests.platforms import conftest
from tests.platforms.conftest import measured

PROBES = (long_load, open_loop, relay, saturation, scaling)
WORKLOAD = replace(
    conftest.WORKLOAD,
    scaling_tokens=(8, 16, 32),
    scaling_blocks=1,
    load_requests=4,
    load_sessions=1,
    loads=(0.3,),
    arrivals=("poisson", "constant"),
    load_seconds=0.2,
    slo_ms=1000.0,
    long_requests=(6, 11),
    saturation_quantile=0.9,
    saturation_steps=20,
    saturation_seconds=60.0,
)


@pytest.fixture(scope="module")
def job(machine: local.Machine, tmp_path_factory: pytest.TempPathFactory) -> Job:
    names = [probe.__name__.rpartition(".")[2] for probe in PROBES]
    folder = tmp_path_factory.mktemp("records")
    return measured(machine, folder, tier=5, boots=1, probes=names, workload=WORKLOAD)


@pytest.fixture(scope="module")
def found(job: Job) -> tuple[Observation, ...]:
    read = records.read(job.records)
    assert read.failures == ()
    return read.observations


def test_every_probe_says_what_it_declares(found: tuple[Observation, ...]) -> None:
    assert {seen.metric for seen in found} == {name for probe in PROBES for name in probe.METRICS}


def test_every_receipt_of_a_long_load_is_in_the_evidence(
    found: tuple[Observation, ...], job: Job
) -> None:
    kept = [seen.value for seen in found if seen.metric == "long_load_receipts"]
    assert kept == list(WORKLOAD.long_requests)
    sessions = Counter(len(session.receipts) for session in evidence.read(job.evidence)[0])
    assert sessions[6] == sessions[11] == 1


def test_the_whole_chain_holds(job: Job, files: local.Files) -> None:
    (row,) = evidence.check_all(
        records=[job.records],
        evidence=[job.evidence],
        measurements=files.measurements,
        manifests=[files.sealed / "manifest.cose"],
        authority=files.state / "public.json",
    )
    assert row.sessions == 1 + 2 + 1 + 1 + 1  # main, long loads, open loop, saturation, scaling


def test_what_was_offered_was_answered(found: tuple[Observation, ...]) -> None:
    assert {seen.value for seen in found if seen.metric == "lost_requests"} == {0}
    for seen in found:
        if seen.metric in ("open_loop_latency", "open_loop_wait", "relay_throughput"):
            assert seen.value >= 0
    rates = {(seen.at, seen.value) for seen in found if seen.metric == "open_loop_rate"}
    assert len(rates) == len(WORKLOAD.arrivals)  # one rate for both sides at each point
