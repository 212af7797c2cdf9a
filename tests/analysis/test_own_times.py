"""The enclave's own times in record lines have to be the ones that it signed."""

from __future__ import annotations

import pytest

from bench.analysis import own_times
from bench.records import Axes, Observation
from enclave.wire.errors import VerificationError

MAIN = (
    {"boot_ns": [["import", 900, 0], ["key_release", 20, 900]], "requests_ns": {}},
    {"requests_ns": {"inferred": [70, 71, 72], "signed": [3, 4, 5]}},
    {"requests_ns": {"inferred": [73], "signed": [6]}},
)
SESSIONS = [MAIN, *([{"session_ns": {"attested": ns, "keyed": 10 + ns}}] for ns in (40, 41, 42))]
ENCLAVE, CLIENT = (("part", "enclave"),), (("part", "client"),)


def line(metric: str, value_ns: int, side: str = "enclave", at: Axes = ()) -> Observation:
    return Observation(metric, side, 0, 0, 0, value_ns / 1e6, at=at)


HONEST = [
    *(line("inference_latency", ns) for ns in (71, 72, 73)),  # the first request has no line
    line("inference_latency", 1, side="plain"),
    *(line("cold_start_stage", ns) for ns in (5, 900, 20)),  # `launch` is the host's
    *(line("cold_start_begin", ns) for ns in (0, 5, 905)),
    line("key_release", 20),
    *(line("receipt_issue", ns) for ns in (3, 4, 5)),
    *(line("attestation_generation", ns) for ns in (41, 40)),
    *(line("session_setup", ns, at=ENCLAVE) for ns in (50, 52)),
    line("session_setup", 999, at=CLIENT),  # the client's, which nobody signs
]


def test_times_that_were_signed_are_accepted() -> None:
    own_times.check(SESSIONS, HONEST)
    own_times.check(SESSIONS, [])


@pytest.mark.parametrize(
    ("spoilt", "step"),
    [
        pytest.param(line("inference_latency", 74), "inference times", id="one_more_inference"),
        pytest.param(line("cold_start_stage", 1), "start-up stages", id="one_more_stage"),
        pytest.param(line("cold_start_begin", 1), "start-up beginnings", id="one_more_beginning"),
        pytest.param(line("key_release", 20), "key release", id="two_releases_of_one"),
        pytest.param(line("receipt_issue", 6), "receipt times", id="of_another_statement"),
        pytest.param(line("attestation_generation", 41), "times of attested", id="used_twice"),
        pytest.param(line("session_setup", 40, at=ENCLAVE), "times of keyed", id="other_stage"),
    ],
)
def test_a_time_that_was_not_signed_is_named(spoilt: Observation, step: str) -> None:
    with pytest.raises(VerificationError, match=f"own {step}"):
        own_times.check(SESSIONS, [*HONEST, spoilt])


def test_times_in_another_order_are_refused() -> None:
    with pytest.raises(VerificationError, match="own inference times"):
        own_times.check(SESSIONS, HONEST[1::-1] + HONEST[2:])
