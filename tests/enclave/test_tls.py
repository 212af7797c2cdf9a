"""TLS that ends in the enclave: the measured roots, and a key released under it or not at all."""

from __future__ import annotations

import socket
import ssl
import threading
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from hashlib import sha256
from pathlib import Path

import pytest
from asn1crypto import pem
from asn1crypto import x509 as asn1

from bench.emulators.keyring import OWNER, REGION
from bench.host.relay import Relay
from bench.image.build import read_folder
from enclave.tee import KMS_PORT, tls
from enclave.tee.aws import Access, Recipient, decrypt_with_recipient
from enclave.tee.cms import KeyReleaseError
from tests.emulators.parties import CONTEXT, PRIVATE_KEY, Parties, serving
from tests.enclave.hosts import (
    ARN,
    DATA_KEY,
    RECIPIENT,
    Host,
    access,
    caller,
    envelope,
    hybrid,
    json_reply,
)
from tests.enclave.https import Authority, front

HOST = f"kms.{REGION}.amazonaws.com"
URL = f"https://{HOST}"

# SHA-256 of the public key, as Amazon publishes it (https://www.amazontrust.com/repository/), and
# of the certificate, as the root programs of browsers list it.
PUBLISHED = {
    "Amazon Root CA 1": (
        "fbe3018031f9586bcbf41727e417b7d1c45c2f47f93be372a17b96b50757d5a2",
        "8ecde6884f3d87b1125ba31ac3fcb13d7016de7f57cc904fe1cb97c6ae98196e",
    ),
    "Amazon Root CA 2": (
        "7f4296fc5b6a4e3b35d3c369623e364ab1af381d8fa7121533c9d6c633ea2461",
        "1ba5b2aa8c65401a82960118f80bec4f62304d83cec4713a19c39c011ea46db4",
    ),
    "Amazon Root CA 3": (
        "36abc32656acfc645c61b71613c4bf21c787f5cabbee48348d58597803d7abc9",
        "18ce6cfe7bf14e60b2e347b8dfe868cb31d02ebb3ada271569f50343b46db3a4",
    ),
    "Amazon Root CA 4": (
        "f7ecded5c66047d28ed6466b543c40e0743abe81d109254dcf845d4c2c7853c5",
        "e35d28419ed02025cfa69038cd623962458da5c695fbdea3c22b0bfb25897092",
    ),
    "Starfield Services Root Certificate Authority - G2": (
        "2b071c59a0a0ae76b0eadb2bad23bad4580b69c3601b630c2eaf0613afa83f92",
        "568d6905a2c88708a4b3025190edcfedb1974a606a13c6e5290fcb2ae63edab5",
    ),
}


@pytest.fixture(scope="module")
def authority() -> Authority:
    return Authority()


# The roots in the image


@pytest.mark.attack(37)
def test_the_measured_roots_are_those_that_amazon_publishes() -> None:
    found = {}
    for _, _, der in pem.unarmor(tls.ROOTS.read_bytes(), multiple=True):
        root = asn1.Certificate.load(der)  # cryptography warns of one root's serial number, 0
        key = sha256(root.public_key.dump()).hexdigest()
        found[root.subject.native["common_name"]] = key, sha256(der).hexdigest()
        assert root.not_valid_before < datetime(2026, 1, 1, tzinfo=UTC)
        assert root.not_valid_after > datetime(2037, 1, 1, tzinfo=UTC)
    assert found == PUBLISHED


@pytest.mark.attack(37)
def test_the_roots_are_in_the_image() -> None:
    _, application = read_folder(tls.ROOTS.parents[1])
    files = {file.path: file.data for file in application}
    assert files["enclave/tee/roots.pem"] == tls.ROOTS.read_bytes()


@pytest.mark.attack(37, 40)
def test_a_context_trusts_these_roots_alone(
    authority: Authority, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "host.pem").write_text(authority.pem)
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "host.pem"))
    monkeypatch.setenv("SSL_CERT_DIR", str(tmp_path))
    monkeypatch.setenv("SSLKEYLOGFILE", str(tmp_path / "keys"))
    context = tls.context()
    trusted = {sha256(der).hexdigest() for der in context.get_ca_certs(binary_form=True)}
    assert trusted == {certificate for _, certificate in PUBLISHED.values()}
    assert context.verify_mode == ssl.CERT_REQUIRED and context.check_hostname
    assert context.minimum_version == ssl.TLSVersion.TLSv1_2
    assert context.keylog_filename is None


# A key released through it: botocore, TLS, a relay on a Unix socket, HTTPS, the emulated service


class Released:
    """A key service with HTTPS before it and a relay before that, and what it wrapped."""

    def __init__(self, parties: Parties, access: Access, key: bytes, wrapped: bytes) -> None:
        self.parties, self.access, self.key, self.wrapped = parties, access, key, wrapped

    def release(self, access: Access) -> bytes:
        recipient = Recipient(self.parties.document(), PRIVATE_KEY)
        return decrypt_with_recipient(access, recipient, self.parties.arn, CONTEXT, self.wrapped)


@contextmanager
def released(folder: Path, server: ssl.SSLContext, client: ssl.SSLContext) -> Iterator[Released]:
    parties = Parties.create(folder / "kms")
    with ExitStack() as stack:
        kms = stack.enter_context(serving(parties))
        made = parties.client(kms, OWNER).generate_data_key(
            KeyId=parties.arn, KeySpec="AES_256", EncryptionContext=CONTEXT
        )
        https = stack.enter_context(front(server, kms))
        stack.enter_context(Relay(folder / f"v.sock_{KMS_PORT}", https))
        place = replace(caller(parties, URL, hybrid(folder)), tls=client)
        yield Released(parties, place, made["Plaintext"], made["CiphertextBlob"])


@pytest.mark.attack(37)
def test_a_key_is_released_over_tls(tmp_path: Path, authority: Authority) -> None:
    server = authority.server(tmp_path, HOST)
    with released(tmp_path, server, tls.context(authority.pem)) as given:
        assert given.release(given.access) == given.key


@pytest.mark.attack(37)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("wrong name", "Hostname mismatch"),
        ("expired", "certificate has expired"),
        ("unknown authority", "unable to get local issuer certificate"),
        ("authority of the same name", "certificate signature failure"),
        ("measured roots", "unable to get local issuer certificate"),
        ("old version", "ALERT_PROTOCOL_VERSION"),
    ],
)
def test_no_key_comes_from_a_server_that_is_not_proven(
    tmp_path: Path, authority: Authority, fault: str, reason: str
) -> None:
    server, client = authority.server(tmp_path, HOST), tls.context(authority.pem)
    match fault:
        case "wrong name":
            server = authority.server(tmp_path, f"s3.{REGION}.amazonaws.com")
        case "expired":
            ended = datetime.now(UTC) - timedelta(minutes=1)
            server = authority.server(tmp_path, HOST, ends=ended)
        case "unknown authority":
            server = Authority("others").server(tmp_path, HOST)
        case "authority of the same name":
            server = Authority().server(tmp_path, HOST)
        case "measured roots":
            client = tls.context()
        case _:
            server = only_tls_1_1(server)
    with (
        released(tmp_path, server, client) as given,
        pytest.raises(KeyReleaseError, match=reason),
    ):
        given.release(given.access)
    assert given.parties.log()[1:] == []  # the owner's own call, and nothing after it


def only_tls_1_1(server: ssl.SSLContext) -> ssl.SSLContext:
    """As far as this build of OpenSSL still can."""
    with pytest.warns(DeprecationWarning):
        server.minimum_version = server.maximum_version = ssl.TLSVersion.TLSv1_1
    server.set_ciphers("ALL:@SECLEVEL=0")
    return server


@pytest.mark.attack(37)
def test_a_server_without_tls_is_refused(authority: Authority) -> None:
    """The relay leads to a service that speaks plain HTTP."""
    near, far = socket.socketpair()
    far.sendall(json_reply(KeyId=ARN, CiphertextForRecipient=envelope()))
    place = replace(access(Host(b""), url=URL, tls=tls.context(authority.pem)), dial=lambda _: near)
    with far, pytest.raises(KeyReleaseError, match="WRONG_VERSION_NUMBER"):
        decrypt_with_recipient(place, RECIPIENT, ARN, {}, b"blob")


# What goes over the channel


def test_records_stay_under_the_cap_for_vsock(tmp_path: Path, authority: Authority) -> None:
    """Each record is one write: what TLS puts around 15 KiB still fits into 16."""
    server = authority.server(tmp_path, HOST)
    host = Host(json_reply(KeyId=ARN, CiphertextForRecipient=envelope()), server)
    taps: list[Tap] = []

    def dial(port: int) -> socket.socket:
        taps.append(Tap(host.dial(port)))
        return taps[0].near

    place = replace(access(host, url=URL, tls=tls.context(authority.pem)), dial=dial)
    assert decrypt_with_recipient(place, RECIPIENT, ARN, {}, b"blob") == DATA_KEY
    sizes = taps[0].records()
    assert sum(sizes) > 32_000 and 15 * 1024 < max(sizes) <= 16 * 1024


class Tap:
    """Between an enclave and its parent: keeps what goes out."""

    def __init__(self, far: socket.socket) -> None:
        self.near, self._middle = socket.socketpair()
        self._far = far
        self._sent = b""
        self._threads = [
            threading.Thread(target=work, daemon=True) for work in (self._carry_out, self._carry_in)
        ]
        for thread in self._threads:
            thread.start()

    def _carry_out(self) -> None:
        with self._far:
            while data := self._middle.recv(65_536):
                self._sent += data
                self._far.sendall(data)
            self._far.shutdown(socket.SHUT_RDWR)

    def _carry_in(self) -> None:
        with self._middle:
            while data := self._far.recv(65_536):
                self._middle.sendall(data)
            self._middle.shutdown(socket.SHUT_WR)
            self._threads[0].join(10)

    def records(self) -> list[int]:
        """Sizes of the TLS records that went out, heads included (RFC 8446 5.1)."""
        self._threads[1].join(10)
        sizes, rest = [], self._sent
        while rest:
            size = 5 + int.from_bytes(rest[3:5], "big")
            sizes.append(size)
            rest = rest[size:]
        return sizes
