"""Keys and objects over a dialled channel: the real exchange, and every way a host can spoil it."""

from __future__ import annotations

import socket
from base64 import b64encode
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from pathlib import Path

import pytest

from bench.emulators import objects
from bench.emulators.keyring import OWNER, REGION
from bench.host.relay import Relay
from enclave.tee import KMS_PORT, OBJECTS_PORT, aws
from enclave.tee.aws import Access, Credentials, decrypt_with_recipient, get_object
from enclave.tee.cms import UNREADABLE, KeyReleaseError
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from enclave.wire.manifest import Manifest
from enclave.wire.settings import Settings
from tests.emulators.parties import CONTEXT, PCRS, Parties, serving
from tests.enclave.hosts import (
    ARN,
    DATA_KEY,
    HELD,
    RECIPIENT,
    URL,
    Dial,
    Host,
    access,
    address,
    attested,
    caller,
    credentials,
    envelope,
    http,
    hybrid,
    json_reply,
    release,
)

# The real exchange: boto3 and emulators on one side, this code behind a relay on the other


@contextmanager
def released(tmp_path: Path) -> Iterator[tuple[Parties, str, Dial, bytes, bytes]]:
    """(parties, endpoint, dial, data key, wrapped data key)"""
    parties = Parties.create(tmp_path / "kms")
    with serving(parties) as url, Relay(tmp_path / f"v.sock_{KMS_PORT}", address(url)):
        made = parties.client(url, OWNER).generate_data_key(
            KeyId=parties.arn, KeySpec="AES_256", EncryptionContext=CONTEXT
        )
        yield parties, url, hybrid(tmp_path), made["Plaintext"], made["CiphertextBlob"]


def test_key_is_released_to_an_attested_enclave(tmp_path: Path) -> None:
    with released(tmp_path) as (parties, url, dial, data_key, wrapped):
        place, recipient = caller(parties, url, dial), attested(parties.document())
        assert decrypt_with_recipient(place, recipient, parties.arn, CONTEXT, wrapped) == data_key


@pytest.mark.attack(32)
def test_refusals_carry_the_services_own_code(tmp_path: Path) -> None:
    with released(tmp_path) as (parties, url, dial, _, wrapped):
        place, recipient = caller(parties, url, dial), attested(parties.document())
        other_image = attested(parties.document(pcrs=PCRS | {0: b"\x01" * 48}))
        other_context = CONTEXT | {"version": "2"}
        forger = replace(place, credentials=replace(place.credentials, secret_access_key="wrong"))
        arn = parties.arn
        with pytest.raises(KeyReleaseError, match="AccessDeniedException"):
            decrypt_with_recipient(place, other_image, arn, CONTEXT, wrapped)
        with pytest.raises(KeyReleaseError, match="InvalidCiphertextException"):
            decrypt_with_recipient(place, recipient, arn, other_context, wrapped)
        with pytest.raises(KeyReleaseError, match="InvalidSignatureException"):
            decrypt_with_recipient(forger, recipient, arn, CONTEXT, wrapped)


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[objects.ObjectStore, Dial]]:
    folder = tmp_path_factory.mktemp("objects")
    (folder / "data" / "bucket" / "tiny").mkdir(parents=True)
    (folder / "data" / "bucket" / "tiny" / "weights.sealed").write_bytes(CONTENT)
    (folder / "data" / "bucket" / "empty").touch()
    with (
        objects.serve(folder / "data") as running,
        Relay(folder / f"v.sock_{OBJECTS_PORT}", address(running.endpoint_url)),
    ):
        yield running, hybrid(folder)


CONTENT = bytes(range(256)) * 20_000


def reader(running: objects.ObjectStore, dial: Dial) -> Access:
    held = Credentials(running.access_key_id, running.secret_access_key)
    return Access(dial, running.endpoint_url, REGION, held, tls=None)


def read_all(stream: aws.S3Object, piece: int) -> bytes:
    data = bytearray(stream.length)
    done = 0
    while count := stream.readinto(memoryview(data)[done : done + piece]):
        done += count
    assert done == stream.length
    return bytes(data)


@pytest.mark.parametrize("piece", [1 << 20, 65_537])
def test_object_streams_into_the_readers_buffer(
    store: tuple[objects.ObjectStore, Dial], piece: int
) -> None:
    running, dial = store
    stream = get_object(reader(running, dial), "bucket", "tiny/weights.sealed")
    assert stream.length == len(CONTENT)
    assert read_all(stream, piece) == CONTENT


def test_empty_object(store: tuple[objects.ObjectStore, Dial]) -> None:
    running, dial = store
    stream = get_object(reader(running, dial), "bucket", "empty")
    assert stream.length == 0 and stream.readinto(memoryview(bytearray(1))) == 0


def test_absent_object_is_named(store: tuple[objects.ObjectStore, Dial]) -> None:
    running, dial = store
    with pytest.raises(RemoteProtocolError, match="object 'nothing': NoSuchKey"):
        get_object(reader(running, dial), "bucket", "nothing")


def test_canned_reply_in_good_order_is_believed() -> None:
    """The control of the tests below. `Plaintext` may be null, as AWS has it."""
    host = Host(json_reply(KeyId=ARN, CiphertextForRecipient=envelope(), Plaintext=None))
    assert release(host) == DATA_KEY
    assert host.ports == [KMS_PORT]


@pytest.mark.attack(33, 34)
@pytest.mark.parametrize(
    ("answer", "reason"),
    [
        pytest.param(
            json_reply(
                KeyId=ARN,
                CiphertextForRecipient=envelope(),
                Plaintext=b64encode(DATA_KEY).decode(),
            ),
            "sent a plaintext",
            id="plaintext beside the envelope",
        ),
        pytest.param(
            json_reply(KeyId=ARN, Plaintext=b64encode(DATA_KEY).decode()),
            "sent a plaintext",
            id="recipient ignored",
        ),
        pytest.param(
            json_reply(
                KeyId=ARN.replace("local-1", "us-east-1"), CiphertextForRecipient=envelope()
            ),
            "another key",
            id="key of another region",
        ),
        pytest.param(
            json_reply(KeyId=ARN.rpartition("/")[2], CiphertextForRecipient=envelope()),
            "another key",
            id="key without its arn",
        ),
        pytest.param(json_reply(CiphertextForRecipient=envelope()), "another key", id="no key id"),
        pytest.param(json_reply(KeyId=ARN), UNREADABLE, id="no envelope"),
        pytest.param(json_reply(KeyId=ARN, CiphertextForRecipient="AAAA"), UNREADABLE, id="no cms"),
        pytest.param(http("200 OK", b"not json"), "the key service", id="not json"),
        pytest.param(http("200 OK", b" " * 300_000), "more than", id="oversize"),
        pytest.param(b"", "the key service", id="hangs up"),
        pytest.param(b"SSH-2.0-x\r\n", "the key service", id="not http"),
        pytest.param(
            b"HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\n{}", "the key service", id="cut short"
        ),
    ],
)
def test_spoilt_reply_is_fatal(answer: bytes, reason: str) -> None:
    with pytest.raises(KeyReleaseError, match=reason):
        release(Host(answer))


@pytest.mark.attack(33)
def test_key_has_to_be_named_by_its_full_arn() -> None:
    with pytest.raises(LocalProtocolError, match="alias/mine"):
        decrypt_with_recipient(access(Host(b"")), RECIPIENT, "alias/mine", {}, b"blob")


@pytest.mark.attack(27)
def test_silent_host_is_given_up_on(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(aws, "TIMEOUT_S", 0.05)
    ends: list[socket.socket] = []

    def dial(port: int) -> socket.socket:
        near, far = socket.socketpair()
        ends.append(far)
        return near

    with pytest.raises(KeyReleaseError, match="timed out"):
        decrypt_with_recipient(
            Access(dial, URL, REGION, HELD, tls=None), RECIPIENT, ARN, {}, b"blob"
        )
    ends[0].close()


# Objects from a host that answers what it likes


def fetch(answer: bytes) -> aws.S3Object:
    return get_object(access(Host(answer), url="http://s3.emulated"), "bucket", "key")


@pytest.mark.attack(24, 27)
def test_object_that_ends_early_is_an_error() -> None:
    stream = fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n12345")
    buffer = memoryview(bytearray(10))
    assert stream.readinto(buffer) == 5
    with pytest.raises(RemoteProtocolError, match="after 5 of 10 bytes"):
        stream.readinto(buffer)


def test_bytes_beyond_the_length_are_never_read() -> None:
    stream = fetch(b"HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n1234567890")
    assert read_all(stream, 100) == b"12345"


def test_object_without_a_length_is_an_error() -> None:
    with pytest.raises(RemoteProtocolError, match="has no length"):
        fetch(b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nx\r\n0\r\n\r\n")


@pytest.mark.attack(46)
def test_secrets_do_not_stand_in_representations() -> None:
    assert "secret" not in repr(Credentials("AKIA", "secret", "secret"))


# As the boot code calls it


def test_manifest_and_settings_name_key_and_object(
    tmp_path: Path, store: tuple[objects.ObjectStore, Dial]
) -> None:
    running, objects_dial = store
    with released(tmp_path) as (parties, url, dial, data_key, wrapped):
        held = credentials(parties)
        manifest = Manifest(
            model="minilm",
            version="1",
            architecture="bert",
            source="seeded",
            weights_sha256=bytes(32),
            weights_bytes=1,
            chunk_bytes=1,
            tokenizer_sha256=bytes(32),
            tokenizer_bytes=1,
            config={},
            wrapped_key=wrapped,
            key_arn=parties.arn,
            encryption_context=CONTEXT,
            nonce_prefix=bytes(7),
            key_commitment=bytes(32),
        )
        recipient = attested(parties.document())
        key = aws.release_key(dial, chosen(url, held), manifest, recipient, tls=None)
    assert key == data_key
    held = Credentials(running.access_key_id, running.secret_access_key)
    for prefix, name in (("tiny", "weights.sealed"), ("", "tiny/weights.sealed")):
        settings = chosen(running.endpoint_url, held, prefix)
        assert aws.fetch(objects_dial, settings, name, tls=None).length == len(CONTENT)


def chosen(endpoint: str, held: Credentials, prefix: str = "") -> Settings:
    return Settings(
        kms_endpoint=endpoint,
        objects_endpoint=endpoint,
        region=REGION,
        bucket="bucket",
        prefix=prefix,
        threads=1,
        sessions=1,
        echo=False,
        access_key_id=held.access_key_id,
        secret_access_key=held.secret_access_key,
        session_token="",
    )
