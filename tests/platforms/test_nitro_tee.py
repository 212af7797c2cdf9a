"""The driver for Nitro Enclaves, from boot to a receipt: real but for hardware, AWS and vsock.

The security module is emulated behind the driver's ioctl, and TLS ends at names of AWS under an
authority of the tests' own. Everything else is what would run in an enclave.
"""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.client.channel import TimedChannel
from bench.client.session import open_session
from bench.emulators import estate, keyring, kms, nsm, objects, pki
from bench.host.relay import Relay
from bench.image import measurements
from bench.platforms import local, owner
from bench.verify import Policy
from bench.verify.evidence import Expected
from enclave.boot import boot
from enclave.serve import Service
from enclave.stages import Stages
from enclave.tee import KMS_PORT, OBJECTS_PORT, SERVICE_PORT, SETTINGS_PORT, aws_nitro, tls
from enclave.tee.channels import HybridVsock
from enclave.tee.nsm import device
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.manifest import verify_manifest
from enclave.wire.settings import Settings
from tests.enclave.https import Authority, front
from tests.enclave.test_nsm import Driver

AUTHORITY = Authority()
NAMES = {
    KMS_PORT: f"kms.{keyring.REGION}.amazonaws.com",
    OBJECTS_PORT: f"s3.{keyring.REGION}.amazonaws.com",
}


def now() -> datetime:
    return datetime.now(UTC)


class Parent:
    """A parent instance: relays to AWS, settings for whoever asks, a way to the enclave's ports."""

    def __init__(self, files: local.Files, folder: Path, stack: ExitStack) -> None:
        self.files, self.folder = files, folder
        self.public = estate.Public.read(files.state)
        self.built = measurements.read(files.measurements)
        ring = keyring.load(files.state / "private" / "kms")
        caller = ring.principal(keyring.INSTANCE)
        url = stack.enter_context(kms.run(files.state / "private" / "kms"))
        owner.allow(url, ring, self.public.key_arn, self.built.pcrs)
        (folder / "buckets").mkdir()
        (folder / "buckets" / "models").symlink_to(files.sealed.resolve())
        store = stack.enter_context(objects.serve(folder / "buckets", caller))
        for port, backend in ((KMS_PORT, url), (OBJECTS_PORT, store.endpoint_url)):
            server = AUTHORITY.server(folder, NAMES[port])
            address = stack.enter_context(front(server, backend))
            stack.enter_context(Relay(folder / f"v.sock_{port}", address))
        self.settings = Settings(
            kms_endpoint=f"https://{NAMES[KMS_PORT]}",
            objects_endpoint=f"https://{NAMES[OBJECTS_PORT]}",
            region=keyring.REGION,
            bucket="models",
            prefix="",
            threads=1,
            sessions=1,
            echo=False,
            access_key_id=caller.access_key_id,
            secret_access_key=caller.secret_access_key,
            session_token="",
        )
        self._listener = stack.enter_context(_listen(folder / "v.sock"))
        self._asked = stack.enter_context(_listen(folder / f"v.sock_{SETTINGS_PORT}"))
        stack.callback(self._listener.shutdown, socket.SHUT_RDWR)

    def tee(self, trust: str) -> aws_nitro.NitroTee:
        """An enclave's, on a machine in good order."""
        (self.folder / "nsm").touch()
        (self.folder / "rng_current").write_text("nsm-hwrng\n")
        root = pki.load_or_create(self.files.state / "private", now())
        module = nsm.NsmEmulator(self.built.pcrs, root, now, local.MODULE_ID)
        return aws_nitro.NitroTee(
            device(self.folder / "nsm", Driver(module.transact)),
            partial(HybridVsock, self._listener, self.folder, aws_nitro.PORTS),
            tls.context(trust),
            entropy_source=self.folder / "rng_current",
        )

    def start(self, settings: Settings, trust: str = AUTHORITY.pem) -> Service:
        """Boot an enclave that is told these settings."""
        told = threading.Thread(target=self._tell, args=(settings,))
        told.start()
        try:
            model_owner = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public.owner))
            tee = self.tee(trust)
            booted = boot(tee, model_owner, Stages())
            booted.parent.close()
            return Service(tee, booted)
        finally:
            told.join()

    def _tell(self, settings: Settings) -> None:
        stream, _ = self._asked.accept()
        with stream:
            stream.sendall(settings.encode())

    def connect(self) -> socket.socket:
        """A stream to the enclave's service."""
        stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        stream.connect(str(self.folder / "v.sock"))
        stream.sendall(b"CONNECT %d\n" % SERVICE_PORT)
        assert stream.recv(64) == b"OK %d\n" % SERVICE_PORT
        return stream

    def expected(self) -> Expected:
        """What a client insists on: among it that this is no evaluation."""
        signed = (self.files.sealed / "manifest.cose").read_bytes()
        model_owner = Ed25519PublicKey.from_public_bytes(bytes.fromhex(self.public.owner))
        manifest, digest = verify_manifest(signed, model_owner)
        policy = Policy(
            bytes.fromhex(self.public.root_sha256),
            bytes.fromhex(self.public.root),
            self.built.pcrs,
            emulated=True,
        )
        return Expected(
            policy=policy,
            settings_digest=self.settings.digest(),
            manifest_digest=digest,
            model=manifest.model,
            weights_sha256=manifest.weights_sha256,
            security_mode="production",
        )


def _listen(path: Path) -> socket.socket:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    return listener


@pytest.fixture(scope="module")
def parent(files: local.Files, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Parent]:
    with ExitStack() as stack:
        yield Parent(files, tmp_path_factory.mktemp("parent"), stack)


@pytest.mark.attack(37)
@pytest.mark.parametrize(
    ("fault", "reason"),
    [
        ("roots of AWS alone", "CERTIFICATE_VERIFY_FAILED"),
        ("endpoint without tls", r"http://.* expected https://kms\.local-1"),
        ("endpoint of another name", r"attacker.* expected https://s3\.local-1"),
    ],
)
def test_it_does_not_start_where_tls_would_not_hold(
    parent: Parent, fault: str, reason: str
) -> None:
    settings, trust = parent.settings, AUTHORITY.pem
    match fault:
        case "roots of AWS alone":
            trust = tls.ROOTS.read_text()
        case "endpoint without tls":
            settings = replace(settings, kms_endpoint=f"http://{NAMES[KMS_PORT]}")
        case _:
            settings = replace(settings, objects_endpoint="https://s3.attacker.example")
    with pytest.raises(RemoteProtocolError, match=reason):
        parent.start(settings, trust)


@pytest.mark.attack(49)
def test_it_boots_over_tls_and_answers_as_production(parent: Parent) -> None:
    service = parent.start(parent.settings)
    threading.Thread(target=service.run, daemon=True).start()
    with parent.connect() as stream:
        session = open_session(TimedChannel(stream), parent.expected(), now())
        answer = session.request(("one", "two"))
        session.check(answer)
        session.close()
    assert answer.output.shape[0] == 2
