"""The emulated key service, made to misbehave through its own door and no other."""

from __future__ import annotations

import time
from collections.abc import Iterator
from typing import Any

import pytest
from botocore.config import Config
from botocore.exceptions import ClientError, ConnectionClosedError

from bench.emulators import kms
from bench.emulators.keyring import OWNER
from bench.faults import Fault
from tests.emulators.parties import Parties

ONCE = Config(retries={"total_max_attempts": 1})
LONG = 3600.0


@pytest.fixture(scope="module")
def service(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Parties, Any, Any]]:
    """(parties, a client that never retries, inject)"""
    parties = Parties.create(tmp_path_factory.mktemp("kms") / "state")
    with kms.start(parties.state) as (url, inject):
        yield parties, parties.client(url, OWNER, config=ONCE), inject
        inject([])


def wait_for(parties: Parties, ask: Any, seconds: float = 5.0) -> BaseException:
    """What `ask` raises once the schedule has arrived."""
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        try:
            ask(KeyId=parties.arn)
        except (ClientError, ConnectionClosedError) as error:
            return error
    raise AssertionError("no fault was seen")


@pytest.mark.parametrize(
    ("kind", "code", "status"),
    [
        ("throttled", "ThrottlingException", 400),
        ("unavailable", "KMSInternalException", 500),
    ],
)
def test_a_fault_is_answered_as_the_service_would(
    service: tuple[Parties, Any, Any], kind: str, code: str, status: int
) -> None:
    parties, client, inject = service
    inject([Fault(kind, 0.0, LONG)])
    error = wait_for(parties, client.describe_key)
    assert isinstance(error, ClientError)
    assert error.response["Error"]["Code"] == code
    assert error.response["ResponseMetadata"]["HTTPStatusCode"] == status
    assert parties.log()[-1]["injected"] == kind


def test_a_reset_cuts_the_connection(service: tuple[Parties, Any, Any]) -> None:
    parties, client, inject = service
    inject([Fault("reset", 0.0, LONG)])
    assert isinstance(wait_for(parties, client.describe_key), ConnectionClosedError)


def test_latency_delays_the_right_answer_and_then_is_over(
    service: tuple[Parties, Any, Any],
) -> None:
    parties, client, inject = service
    inject([])
    while True:
        try:
            client.describe_key(KeyId=parties.arn)
            break
        except (ClientError, ConnectionClosedError):
            continue
    inject([Fault("latency", 0.0, 1.0, 300.0)])
    slowest = 0.0
    end = time.monotonic() + 1.0
    while time.monotonic() < end:
        began = time.monotonic()
        assert client.describe_key(KeyId=parties.arn)["KeyMetadata"]["Arn"] == parties.arn
        slowest = max(slowest, time.monotonic() - began)
    assert slowest >= 0.3
    client.describe_key(KeyId=parties.arn)
    assert "injected" not in parties.log()[-1]
