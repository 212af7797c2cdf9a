"""This machine with everything around an enclave running: its servers, and what else is measured.

`bench.platforms.local` says what of it is emulated, and leases it.
"""

from __future__ import annotations

import os
import socket
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import AbstractContextManager, ExitStack, contextmanager
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from itertools import count
from pathlib import Path

from bench.emulators import estate, keyring, nsm, pki, sandbox
from bench.faults import Fault
from bench.host.relay import Relay
from bench.image import measurements
from bench.platforms import (
    ECHO_PORT,
    SERVICE_PORT,
    DataKey,
    Endpoint,
    KeyClient,
    Limits,
    PlatformError,
    Shape,
    bulk,
    guest,
    ladder,
    owner,
    releases,
    wires,
)
from bench.verify import Policy
from bench.verify.compliance.bundle import Bundle, Run
from bench.verify.evidence import Expected
from enclave.wire.manifest import Manifest
from enclave.wire.settings import Settings

NAME = "local"
MODULE_ID = "i-0c0ffee0c0ffee0c0-enc0c0ffee0c0ffee0c"
KMS_NAME = "kms.local"  # what requests are signed for; a relay decides where they go
OBJECTS_NAME = "objects.local"
TRANSPORTS = {
    "uds": "unix sockets in the manner of hybrid vsock",
    "vsock": "AF_VSOCK over the kernel's loopback",
}
VSOCK_STEP = 10_000  # guests share this kernel, so each has a range of port numbers to itself
SETTINGS_PORT, KMS_PORT, OBJECTS_PORT, BULK_PORT = 7000, 8000, 8001, 8002


@dataclass(frozen=True, slots=True)
class Files:
    """What a run needs, all made by earlier rules; `sealed` is a folder named like a bucket."""

    image: Path
    measurements: Path
    source: Path
    sealed: Path
    state: Path
    logs: Path


@dataclass(frozen=True, slots=True)
class Machine:
    """This machine with everything around an enclave running; a Platform."""

    files: Files
    shape: Shape
    level: sandbox.Level
    public: estate.Public
    built: measurements.Measurements
    manifest: Manifest
    manifest_digest: bytes
    settings: Settings
    root: Path
    relays: Mapping[int, tuple[str, int]]
    transport: str
    buckets: Path
    data_key: Callable[[Mapping[str, str]], DataKey]
    inject: Callable[[Sequence[Fault]], None]
    offsets: Iterator[int] = field(default_factory=partial(count, VSOCK_STEP, VSOCK_STEP))
    name: str = NAME

    @property
    def model(self) -> Path:
        """The plaintext model's folder."""
        return self.files.source

    def facts(self) -> Mapping[str, object]:
        """What records say of platform, image and model; the same for every boot."""
        return {
            "platform": NAME,
            "emulated": True,
            "pcrs": {str(index): value.hex() for index, value in sorted(self.built.pcrs.items())},
            "enclave_digest": self.built.enclave_digest,
            "manifest_digest": self.manifest_digest.hex(),
            "model_source": self.manifest.source,
            "model_version": self.manifest.version,
            "weights_sha256": self.manifest.weights_sha256.hex(),
            "weights_bytes": self.manifest.weights_bytes,
            "settings_digest": self.settings.digest().hex(),
            "session_limit": self.settings.sessions,
            "security_mode": "evaluation",
            "isolation_level": self.level.value,
            "transport": TRANSPORTS[self.transport],
            "object_store": "rclone serve s3 over loopback",
            "vcpus": self.shape.vcpus,
            "enclave_memory_mib": self.shape.memory_mib,
        }

    def expected(self) -> Expected:
        """An image by its measurements, under the emulator's root, which is named as such."""
        policy = Policy(
            root_sha256=bytes.fromhex(self.public.root_sha256),
            root_der=bytes.fromhex(self.public.root),
            pcrs=self.built.pcrs,
            emulated=True,
        )
        return Expected(
            policy=policy,
            settings_digest=self.settings.digest(),
            manifest_digest=self.manifest_digest,
            model=self.manifest.model,
            weights_sha256=self.manifest.weights_sha256,
            security_mode="evaluation",
        )

    def serve(self, side: str) -> AbstractContextManager[Endpoint]:
        """A fresh server of one side."""
        if side in ("plain", "null"):
            return self._plain(side)
        return self._guest(side)

    def padded(self, bucket_bytes: int) -> Machine:
        """The same machine with enclaves that round the size of what they answer up."""
        return replace(self, settings=replace(self.settings, response_bucket_bytes=bucket_bytes))

    def bundle(self, runs: Sequence[Run]) -> Bundle:
        """What a reviewer is handed of these runs."""
        manifest = (self.files.sealed / "manifest.cose").read_bytes()
        return owner.bundle(self.public, self.built.pcrs, manifest, runs)

    @contextmanager
    def releases(self) -> Iterator[releases.Attest]:
        """The enclave's own code in this process, which has a security module to itself."""
        with (
            self._host() as (folder, wire, module),
            releases.outside(
                module, wire.arguments(folder), self.settings, self.manifest
            ) as attest,
        ):
            yield attest

    @contextmanager
    def relayed(self) -> Iterator[Mapping[str, Callable[[], socket.socket]]]:
        """A relay on a guest's channel before a source of bytes, and the source itself."""
        with guest.run_folder() as folder, bulk.source() as target, ExitStack() as stack:
            wire = self._wire(folder)
            stack.callback(wire.close)
            address = wire.address(BULK_PORT)
            stack.enter_context(Relay(address, target))
            yield {
                "relay": partial(wires.dial, address),
                "direct": partial(socket.create_connection, target),
            }

    @contextmanager
    def strained(self, limits: Limits) -> Iterator[KeyClient]:
        """The same, asking the emulated key service while that misbehaves."""
        with self._host() as (folder, wire, module):
            served = module, wire.arguments(folder), self.settings, self.manifest
            with releases.strained(*served, limits, self.inject) as client:
                yield client

    def trial(self, layers: int, memory_mib: int) -> tuple[int, str]:
        """A model of the ladder, sealed for this machine and started in an enclave once."""
        with guest.run_folder() as folder:
            signer = estate.owner(self.files.state)
            manifest, digest = ladder.make(layers, folder, self.data_key, signer)
            bucket = self.buckets / folder.name
            bucket.symlink_to(folder)
            rung = replace(
                self,
                shape=Shape(self.shape.vcpus, memory_mib),
                files=replace(self.files, logs=folder),
                manifest=manifest,
                manifest_digest=digest,
                settings=replace(self.settings, bucket=bucket.name),
            )
            try:
                with rung.serve("enclave"):
                    return manifest.weights_bytes, ""
            except PlatformError as error:
                return manifest.weights_bytes, guest.refusal(error)
            finally:
                bucket.unlink()

    @contextmanager
    def _plain(self, side: str) -> Iterator[Endpoint]:
        with guest.run_folder() as folder, ExitStack() as stack:
            service = stack.enter_context(wires.listen(folder / "service.sock"))
            echo = stack.enter_context(socket.create_server(("127.0.0.1", 0)))
            ready, announce = os.pipe()
            stack.callback(os.close, ready)
            argv = [sys.executable, "-m", "bench.plain", "--model", str(self.files.source)]
            argv += ["--threads", str(self.shape.vcpus), "--service", str(service.fileno())]
            argv += ["--batch", str(self.settings.batch), "--device", self.settings.device]
            argv += ["--echo", str(echo.fileno()), "--ready", str(announce)]
            process, began_ns = guest.start(
                self._unconfined(argv),
                pass_fds=(service.fileno(), echo.fileno(), announce),
                log=self.files.logs / f"{side}.log",
            )
            stack.enter_context(process)
            os.close(announce)
            ready_ns = guest.wait_ready(process, ready, side)
            sockets = {SERVICE_PORT: folder / "service.sock", ECHO_PORT: echo.getsockname()}
            yield guest.PlainEndpoint({"whole": ready_ns - began_ns}, sockets)

    @contextmanager
    def _guest(self, side: str) -> Iterator[Endpoint]:
        with self._host() as (folder, wire, module), ExitStack() as stack:
            asked = stack.enter_context(wire.listen(SETTINGS_PORT))
            process, began_ns = guest.start(
                self._command(side, module.fileno(), wire, folder),
                pass_fds=(module.fileno(), *wire.descriptors),
                log=self.files.logs / f"{side}.log",
            )
            stack.enter_context(process)
            module.close()
            parent = stack.enter_context(guest.accept(process, asked, side))
            dialled_ns = guest.now_ns()
            parent.sendall(self.settings.encode())
            parent.shutdown(socket.SHUT_WR)
            ready_ns = guest.wait_ready(process, parent.fileno(), side)
            start_ns = {"launch": dialled_ns - began_ns, "whole": ready_ns - began_ns}
            yield wires.WiredEndpoint(start_ns, wire)

    @contextmanager
    def _host(self) -> Iterator[tuple[Path, wires.Wires, socket.socket]]:
        """What a guest finds: a folder, a channel with relays, its end of a security module."""
        with guest.run_folder() as folder, ExitStack() as stack:
            wire = self._wire(folder)
            stack.callback(wire.close)
            for port, target in self.relays.items():
                stack.enter_context(Relay(wire.address(port), target))
            ours, theirs = socket.socketpair()
            stack.enter_context(ours)
            stack.enter_context(theirs)
            threading.Thread(target=nsm.serve, args=(self._nsm(), ours), daemon=True).start()
            yield folder, wire, theirs

    def _wire(self, folder: Path) -> wires.Wires:
        """A channel of its own for a guest; the folder is this guest's."""
        if self.transport == "vsock":
            return wires.Vsock(next(self.offsets))
        return wires.HybridVsock(folder)

    def _nsm(self) -> nsm.NsmEmulator:
        root = pki.load_or_create(self.files.state / "private", _now())
        return nsm.NsmEmulator(self.built.pcrs, root, _now, MODULE_ID, role_arn=keyring.INSTANCE)

    def _command(self, side: str, nsm: int, wire: wires.Wires, folder: Path) -> list[str]:
        """The boot code of the unpacked image: in the sandbox, or beside it."""
        level = self.level if side == "enclave" else sandbox.Level.PROCESS
        python = [sys.executable, "-I", "-B", str(self.root / "init"), str(self.root)]
        return sandbox.command(
            level,
            [*python, str(nsm), *wire.arguments(sandbox.vsock_folder(level, folder))],
            vcpus=guest.cpus(self.shape.vcpus),
            memory_mib=self.shape.memory_mib if side == "enclave" else None,
            read_only=[self.root],
            run_dir=folder,
        )

    def _unconfined(self, argv: Sequence[str]) -> list[str]:
        """The same CPUs and empty environment as every other side."""
        return sandbox.command(
            sandbox.Level.PROCESS, argv, vcpus=guest.cpus(self.shape.vcpus), memory_mib=None
        )


def _now() -> datetime:
    return datetime.now(UTC)
