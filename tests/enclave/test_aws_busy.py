"""Which failures of the key service are worth another attempt, and a release that makes it."""

from __future__ import annotations

import json
import ssl
from collections.abc import Callable
from dataclasses import replace

import pytest

from enclave.tee import aws
from enclave.tee.aws import KeyServiceBusyError
from enclave.tee.cms import KeyReleaseError
from enclave.tee.patience import Limits, Patience, UnavailableError
from tests.enclave.hosts import ARN, DATA_KEY, RECIPIENT, Host, envelope, http, json_reply, release
from tests.enclave.test_aws import HELD, chosen
from tests.enclave.test_aws_names import MANIFEST

GOOD = json_reply(KeyId=ARN, CiphertextForRecipient=envelope())


def refusal(status: str, code: str) -> bytes:
    return http(status, json.dumps({"__type": code, "message": "no"}).encode())


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(refusal("400 Bad Request", "ThrottlingException"), id="throttled"),
        pytest.param(refusal("429 Too Many Requests", "Anything"), id="too_many_requests"),
        pytest.param(refusal("500 Internal Server Error", "KMSInternalException"), id="internal"),
        pytest.param(refusal("503 Service Unavailable", "DependencyTimeoutException"), id="503"),
        pytest.param(b"", id="hung_up"),
    ],
)
def test_what_may_pass_is_busy(answer: bytes) -> None:
    with pytest.raises(KeyServiceBusyError):
        release(Host(answer))


@pytest.mark.parametrize(
    "answer",
    [
        pytest.param(refusal("400 Bad Request", "AccessDeniedException"), id="denied"),
        pytest.param(refusal("400 Bad Request", "InvalidCiphertextException"), id="ciphertext"),
        pytest.param(json_reply(KeyId=ARN, Plaintext="AAAA"), id="plaintext"),
        pytest.param(json_reply(KeyId="another"), id="another_key"),
        pytest.param(http("200 OK", b"{"), id="no_json"),
    ],
)
def test_what_will_not_pass_is_final(answer: bytes) -> None:
    with pytest.raises(KeyReleaseError) as caught:
        release(Host(answer))
    assert not isinstance(caught.value, KeyServiceBusyError)


def test_a_host_that_cannot_be_dialled_is_busy_and_a_wrong_certificate_is_not() -> None:
    def failing(error: Exception) -> Host:
        host = Host(GOOD)

        def dial(_: int) -> None:
            raise error

        host.dial = dial  # type: ignore[method-assign,assignment]
        return host

    with pytest.raises(KeyServiceBusyError):
        release(failing(ConnectionRefusedError()))
    with pytest.raises(KeyReleaseError) as caught:
        release(failing(ssl.SSLCertVerificationError()))
    assert not isinstance(caught.value, KeyServiceBusyError)


class Turns(Host):
    """Answers each channel with the next of several answers."""

    def __init__(self, *answers: bytes) -> None:
        self._answers = list(answers)
        super().__init__(b"")

    @property
    def _answer(self) -> bytes:  # type: ignore[override]
        return self._answers.pop(0)

    @_answer.setter
    def _answer(self, _: bytes) -> None:
        """There are several."""


def released(host: Host, limits: Limits, sleep: Callable[[float], None]) -> bytes:
    patience = Patience(limits, sleep=sleep, chance=lambda: 1.0)
    settings, manifest = chosen("http://kms.emulated", HELD), replace(MANIFEST, key_arn=ARN)
    return aws.release_key(host.dial, settings, manifest, RECIPIENT, tls=None, patience=patience)


THROTTLED = refusal("400 Bad Request", "ThrottlingException")


def test_a_release_outlives_throttling() -> None:
    host, waited = Turns(THROTTLED, b"", GOOD), list[float]()
    assert released(host, Limits(), waited.append) == DATA_KEY
    assert len(host.ports) == 3 and waited == [0.1, 0.2]


@pytest.mark.attack(32)
def test_a_refusal_is_not_asked_again() -> None:
    host = Turns(refusal("400 Bad Request", "AccessDeniedException"), GOOD)
    with pytest.raises(KeyReleaseError, match="AccessDenied"):
        released(host, Limits(), pytest.fail)
    assert len(host.ports) == 1


def test_a_service_that_stays_away_fails_closed() -> None:
    host = Turns(*[THROTTLED] * 9)
    with pytest.raises(KeyServiceBusyError, match="ThrottlingException"):
        released(host, Limits(attempts=3), lambda _: None)
    assert len(host.ports) == 3


def test_an_open_breaker_turns_away_without_asking() -> None:
    host = Turns(*[THROTTLED] * 9)
    patience = Patience(Limits(attempts=1, seconds=1.0, failures=1), sleep=lambda _: None)
    settings, manifest = chosen("http://kms.emulated", HELD), replace(MANIFEST, key_arn=ARN)
    for match in ("ThrottlingException", "not asked"):
        with pytest.raises(KeyServiceBusyError, match=match) as caught:
            aws.release_key(host.dial, settings, manifest, RECIPIENT, tls=None, patience=patience)
    assert isinstance(caught.value.__cause__, UnavailableError)
    assert len(host.ports) == 1
