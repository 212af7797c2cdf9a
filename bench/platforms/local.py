"""The local platform: every party of a real run, emulated or real, on this machine alone.

Real: the image, the enclave code, S3 (rclone), SigV4, the key policy, the client. Emulated, and
called so in every record: the security module, the KMS, the hypervisor (a sandbox). It is a
platform, not a mock: nothing is skipped, and a document of its root is worth nothing elsewhere.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any
from urllib.parse import urlsplit

from bench.emulators import estate, keyring, kms, objects, sandbox
from bench.image import build, measurements
from bench.platforms import (
    PlatformError,
    Shape,
    guest,
    owner,
    wires,
)
from bench.platforms.local_machine import (
    KMS_NAME,
    KMS_PORT,
    MODULE_ID,
    OBJECTS_NAME,
    OBJECTS_PORT,
    Files,
    Machine,
)
from enclave.wire.manifest import verify_manifest
from enclave.wire.settings import Settings

__all__ = ["MODULE_ID", "Files", "Machine", "lease"]


@contextmanager
def lease(
    files: Files, shape: Shape, *, require: str | None, transport: str = "uds", **chosen: Any
) -> Iterator[Machine]:
    """Everything around an enclave, running; gone when the context ends.

    `chosen` are further settings of its servers (enclave.wire.settings), `sessions` among them.
    """
    guest.sweep()
    if transport == "vsock":
        wires.require_vsock()
    public = estate.Public.read(files.state)
    built = measurements.read(files.measurements)
    image = measurements.check(files.image.read_bytes(), built, file=str(files.image))
    signer = estate.owner(files.state).public_key()
    manifest, digest = verify_manifest((files.sealed / "manifest.cose").read_bytes(), signer)
    ring = keyring.load(files.state / "private" / "kms")
    caller = ring.principal(keyring.INSTANCE)
    files.logs.mkdir(parents=True, exist_ok=True)
    with ExitStack() as stack:
        root = stack.enter_context(guest.run_folder()) / "root"
        root.mkdir()
        build.unpack_image(image, root)
        kms_url, inject = stack.enter_context(kms.start(files.state / "private" / "kms"))
        owner.allow(kms_url, ring, public.key_arn, built.pcrs)
        buckets = stack.enter_context(guest.run_folder())
        (buckets / "models").symlink_to(files.sealed.resolve())
        store = stack.enter_context(objects.serve(buckets, caller))
        settings = Settings(
            kms_endpoint=f"http://{KMS_NAME}",
            objects_endpoint=f"http://{OBJECTS_NAME}",
            region=keyring.REGION,
            bucket="models",
            prefix="",
            threads=shape.vcpus,
            echo=True,
            access_key_id=caller.access_key_id,
            secret_access_key=caller.secret_access_key,
            session_token="",
            **chosen,
        )
        relays = {KMS_PORT: _address(kms_url), OBJECTS_PORT: _address(store.endpoint_url)}
        yield Machine(
            files,
            shape,
            sandbox.choose(require),
            public,
            built,
            manifest,
            digest,
            settings,
            root,
            relays,
            transport,
            buckets,
            partial(owner.fresh_key, kms_url, ring, public.key_arn),
            inject,
        )


def _address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    if parts.hostname is None or parts.port is None:
        raise PlatformError(f"{url!r} names no host and port")
    return parts.hostname, parts.port
