"""The client's one way out: the dialled channel, once, with TLS or without as this side says."""

from __future__ import annotations

import socket
import ssl
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

from bench.emulators.keyring import REGION
from enclave.tee import KMS_PORT, OBJECTS_PORT
from enclave.tee.aws import get_object
from enclave.tee.cms import KeyReleaseError
from enclave.wire.errors import RemoteProtocolError
from tests.enclave.hosts import ARN, DATA_KEY, HELD, Host, envelope, http, json_reply, release


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
        get_object(host.dial, "http://s3.emulated", REGION, HELD, "bucket", "key")
    assert host.ports == [OBJECTS_PORT]


@pytest.mark.attack(33)
def test_request_for_another_host_is_not_sent() -> None:
    """A bucket's name is the host's choice, and some names lead botocore elsewhere."""
    host = Host(http("200 OK", b""))
    bucket = "arn:aws:s3:local-1:000000000000:accesspoint/elsewhere"
    with pytest.raises(RemoteProtocolError, match=r"on the channel to s3\.emulated"):
        get_object(host.dial, "http://s3.emulated", REGION, HELD, bucket, "key")
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


@pytest.fixture(scope="module")
def server_tls(tmp_path_factory: pytest.TempPathFactory) -> tuple[ssl.SSLContext, Path]:
    """(a server's context, its certificate): for the address 127.0.0.1."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "kms")])
    begin = datetime.now(UTC) - timedelta(hours=1)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(begin)
        .not_valid_after(begin + timedelta(days=1))
        .add_extension(
            x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False
        )
        .add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        .sign(key, hashes.SHA256())
    )
    (folder / "certificate.pem").write_bytes(certificate.public_bytes(Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
    )
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(folder / "certificate.pem", folder / "key.pem")
    return context, folder / "certificate.pem"


@pytest.mark.attack(37)
def test_tls_ends_in_here(server_tls: tuple[ssl.SSLContext, Path]) -> None:
    server, certificate = server_tls
    host = Host(json_reply(KeyId=ARN, CiphertextForRecipient=envelope()), server)
    trusted = ssl.create_default_context(cafile=certificate)
    assert release(host, url="https://127.0.0.1", tls=trusted) == DATA_KEY


@pytest.mark.attack(37)
def test_server_without_a_pinned_root_is_refused(
    server_tls: tuple[ssl.SSLContext, Path],
) -> None:
    host = Host(json_reply(KeyId=ARN, CiphertextForRecipient=envelope()), server_tls[0])
    nothing_trusted = ssl.SSLContext(ssl.PROTOCOL_TLS_CLIENT)
    with pytest.raises(KeyReleaseError, match="CERTIFICATE_VERIFY_FAILED"):
        release(host, url="https://127.0.0.1", tls=nothing_trusted)


@pytest.mark.attack(37)
def test_server_of_another_name_is_refused(server_tls: tuple[ssl.SSLContext, Path]) -> None:
    server, certificate = server_tls
    host = Host(json_reply(KeyId=ARN, CiphertextForRecipient=envelope()), server)
    trusted = ssl.create_default_context(cafile=certificate)
    with pytest.raises(KeyReleaseError, match="CERTIFICATE_VERIFY_FAILED"):
        release(host, url="https://127.0.0.2", tls=trusted)


@pytest.mark.attack(37)
@pytest.mark.parametrize(
    ("url", "tls"), [("http://127.0.0.1", True), ("https://127.0.0.1", False), ("", False)]
)
def test_host_cannot_choose_whether_there_is_tls(url: str, tls: bool) -> None:
    context = ssl.create_default_context() if tls else None
    host = Host(json_reply(KeyId=ARN, CiphertextForRecipient=envelope()))
    with pytest.raises(RemoteProtocolError, match="is not http"):
        release(host, url=url, tls=context)
    assert host.ports == []
