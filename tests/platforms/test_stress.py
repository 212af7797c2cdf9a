"""What breaks first, for real: outages, memory that runs out, sessions by the dozen. Kept short."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Sequence

import pytest

from bench import faults, records
from bench.faults import Fault
from bench.platforms import PlatformError, guest, local
from bench.probes import Workload, churn, ladder, load_memory, outage, places
from bench.records import Observation
from tests.platforms.conftest import SESSIONS, measured
from tests.platforms.test_measure import check

PROBES = {
    "load_memory": load_memory,
    "places": places,
    "outage": outage,
    "churn": churn,
    "ladder": ladder,
}
WORKLOAD = Workload(
    tokens=(8,),
    warmup=1,
    stress_sessions=(1, 2),
    stress_seconds=0.1,
    churn_seconds=0.5,
    fault_seconds=1.2,
    ladder_memory_mib=512,
    ladder_seconds=0.1,
)


@pytest.fixture(scope="module")
def stress(
    machine: local.Machine, tmp_path_factory: pytest.TempPathFactory
) -> Sequence[Observation]:
    """Everything that these probes saw, once they all ended well and the evidence held."""
    folder = tmp_path_factory.mktemp("records")
    job = measured(machine, folder, 5, 1, probes=list(PROBES), workload=WORKLOAD)
    check(machine.files, job.records.parent, tier=5)
    found = records.read(job.records)
    assert found.failures == ()
    return found.observations


def values(found: Sequence[Observation], metric: str, **at: str) -> list[float]:
    return [o.value for o in found if o.metric == metric and at.items() <= dict(o.at).items()]


def test_every_probe_says_what_it_declares(stress: Sequence[Observation]) -> None:
    declared = {name for probe in PROBES.values() for name in probe.METRICS}
    assert {observation.metric for observation in stress} == declared


def test_the_limit_of_sessions_is_the_setting(stress: Sequence[Observation]) -> None:
    assert values(stress, "max_sessions") == [SESSIONS]


def test_the_breaker_opens_and_calls_are_shed(
    stress: Sequence[Observation],
) -> None:
    for kind in set(faults.KINDS) - {"latency"}:  # in so short a time too few calls are late
        assert 0 < values(stress, "kms_time_to_open", fault=kind)[0] < 1
        assert values(stress, "kms_calls", fault=kind, outcome="failed")[0] > 0
        assert values(stress, "kms_recovery", fault=kind)[0] < 1
    assert sum(values(stress, "kms_calls", outcome="shed")) > 0
    assert sum(values(stress, "kms_amplification")) < 4 * outage.LIMITS["attempts"]


def test_an_enclave_that_runs_out_of_memory_says_so_and_ends(stress: Sequence[Observation]) -> None:
    (limit,), (refused,) = values(stress, "memory_limit"), values(stress, "memory_refused")
    assert 48 < limit < refused < 512


def test_a_boot_survives_throttling(machine: local.Machine) -> None:
    log = machine.files.state / "private" / "kms" / "decisions.jsonl"
    known = len(log.read_text().splitlines())

    def told() -> list[dict[str, str]]:
        return [json.loads(line) for line in log.read_text().splitlines()[known:]]

    def relent() -> None:
        while not any("injected" in line for line in told()):
            time.sleep(0.05)
        machine.inject([])

    machine.inject([Fault("throttled", 0.0, 3600.0)])
    relenting = threading.Thread(target=relent, daemon=True)
    relenting.start()
    with machine.serve("enclave"):
        relenting.join()
    assert {line.get("injected") for line in told()} == {"throttled", None}
    assert told()[-1]["operation"] == "Decrypt" and told()[-1]["outcome"] == "allowed"


def test_an_end_without_a_reason_is_no_refusal() -> None:
    error = PlatformError("enclave did not become ready", hint="Segmentation fault")
    with pytest.raises(PlatformError, match="did not become ready"):
        guest.refusal(error)
    refused = PlatformError("enclave ended", hint="x\nerror: the enclave does not start: no key")
    assert guest.refusal(refused) == "no key"
