"""The client's one way out: the dialled channel, once, with TLS or without as this side says."""

from __future__ import annotations

import socket
import ssl
from pathlib import Path

import pytest

from enclave.tee import KMS_PORT, OBJECTS_PORT
from enclave.tee.aws import get_object
from enclave.tee.cms import KeyReleaseError
from enclave.wire.errors import RemoteProtocolError
from tests.enclave.hosts import ARN, DATA_KEY, Host, access, envelope, http, json_reply, release


def test_writes_stay_under_the_cap_for_vsock() -> None:
    host = Host(json_reply(KeyId=ARN, CiphertextForRecipient=envelope()))
    release(host)
    assert sum(host.writes) > 32_000 and max(host.writes) <= 16 * 1024


@pytest.mark.parametrize(
    "answer",
    [
        http("500 Internal Server Error", b"{}"),
        http("503 Slow Down", b'{"__type": "ThrottlingException"}'),
        http("307 Temporary Redirect", b"", "Location: http://elsewhere/"),
    ],
)
def test_nothing_is_tried_twice(answer: bytes) -> None:
    host = Host(answer)
    with pytest.raises(KeyReleaseError):
        release(host)
    assert host.ports == [KMS_PORT]


@pytest.mark.attack(33)
@pytest.mark.parametrize(
    ("status", "code"),
    [("301 Moved Permanently", "PermanentRedirect"), ("400 Bad", "AuthorizationHeaderMalformed")],
)
def test_store_cannot_redirect_to_another_region(status: str, code: str) -> None:
    body = f"<Error><Code>{code}</Code><Region>eu-central-1</Region></Error>"
    host = Host(http(status, body.encode(), "x-amz-bucket-region: eu-central-1"))
    with pytest.raises(RemoteProtocolError, match=code):
        get_object(access(host, url="http://s3.emulated"), "bucket", "key")
    assert host.ports == [OBJECTS_PORT]


@pytest.mark.attack(33)
def test_request_for_another_host_is_not_sent() -> None:
    """A bucket's name is the host's choice, and some names lead botocore elsewhere."""
    host = Host(http("200 OK", b""))
    bucket = "arn:aws:s3:local-1:000000000000:accesspoint/elsewhere"
    with pytest.raises(RemoteProtocolError, match=r"on the channel to s3\.emulated"):
        get_object(access(host, url="http://s3.emulated"), bucket, "key")
    assert host.ports == []


@pytest.mark.attack(37, 40)
def test_environment_is_not_consulted(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "config").write_text("[default]\ns3 =\n  use_accelerate_endpoint = true\n")
    for name, value in {
        "AWS_PROFILE": "absent",
        "AWS_CONFIG_FILE": str(tmp_path / "config"),
        "AWS_ENDPOINT_URL_KMS": "http://192.0.2.1",
        "AWS_DEFAULTS_MODE": "auto",
        "AWS_ACCESS_KEY_ID": "AKIAother",
        "AWS_USE_FIPS_ENDPOINT": "true",
        "HTTP_PROXY": "http://192.0.2.1",
    }.items():
        monkeypatch.setenv(name, value)
    host = Host(json_reply(KeyId=ARN, CiphertextForRecipient=envelope()))
    assert release(host) == DATA_KEY


def test_no_other_connection_is_opened(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object, **__: object) -> None:
        raise AssertionError("a connection was opened past the dialled channel")

    monkeypatch.setattr(socket.socket, "connect", refuse)
    monkeypatch.setattr(socket, "getaddrinfo", refuse)
    host = Host(json_reply(KeyId=ARN, CiphertextForRecipient=envelope()))
    assert release(host) == DATA_KEY


@pytest.mark.attack(37)
@pytest.mark.parametrize(
    ("url", "tls"), [("http://127.0.0.1", True), ("https://127.0.0.1", False), ("", False)]
)
def test_host_cannot_choose_whether_there_is_tls(url: str, tls: bool) -> None:
    context = ssl.create_default_context() if tls else None
    host = Host(json_reply(KeyId=ARN, CiphertextForRecipient=envelope()))
    with pytest.raises(KeyReleaseError, match="is not http"):
        release(host, url=url, tls=context)
    assert host.ports == []
