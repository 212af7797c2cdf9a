"""Boot: attest, have the key released, fetch, open and load the model; each a named, timed stage.

What costs most, importing torch, needs nothing of the rest, so the model comes beside it. Nothing
is written to disk. Chunks are opened into one buffer as they arrive, and the model's tensors are
views onto it.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass
from functools import partial
from hashlib import sha256
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from enclave.memory import Buffer, exhaustible, uncollected
from enclave.objects import open_weights, read_whole
from enclave.stages import Stages
from enclave.tee import SETTINGS_PORT, Tee
from enclave.wire.errors import VerificationError
from enclave.wire.manifest import Manifest, verify_manifest
from enclave.wire.sealed import Opener
from enclave.wire.settings import MAX_BYTES, Settings

if TYPE_CHECKING:
    import socket

    from enclave.models.engine import Engine

MAX_MANIFEST_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class Booted:
    """A loaded model and what is needed to speak for it."""

    settings: Settings
    manifest: Manifest
    manifest_digest: bytes
    engine: Engine
    measurements: dict[int, bytes]
    stages: Stages
    parent: socket.socket


@dataclass(frozen=True, slots=True)
class Received:
    """A model in the clear, checked and not yet looked into."""

    manifest: Manifest
    manifest_digest: bytes
    weights: Buffer
    tokenizer: bytes


def boot(tee: Tee, owner: Ed25519PublicKey, stages: Stages) -> Booted:
    """Everything between start and a loaded model; any failure is fatal."""
    with stages("settings"):
        parent = tee.dial(SETTINGS_PORT)
        settings = Settings.decode(_receive_settings(parent))
    receive = partial(_receive, tee, settings, owner, stages)
    threads, batch, device = settings.threads, settings.batch, settings.device
    received, engine = load(receive, stages, threads=threads, batch=batch, device=device)
    manifest, digest = received.manifest, received.manifest_digest
    return Booted(settings, manifest, digest, engine, tee.measurements(), stages, parent)


def load(
    receive: Callable[[], Received], stages: Stages, *, threads: int, batch: int, device: str
) -> tuple[Received, Engine]:
    """What `receive` brings, loaded and tried out; it runs while torch is imported."""
    with exhaustible(), uncollected(), ThreadPoolExecutor(1, "receive") as beside:
        receiving = beside.submit(receive)
        with stages("import"):
            from enclave.models import engine as engines
        received = receiving.result()
        with stages("load"):
            engine = engines.load(
                received.manifest.architecture,
                received.manifest.config,
                received.weights,
                received.tokenizer,
                threads=threads,
                batch=batch,
                device=device,
            )
        with stages("first_inference"):
            engine.warm_up()
    return received, engine


def _receive_settings(parent: socket.socket) -> bytes:
    data = b""
    while chunk := parent.recv(MAX_BYTES):
        data += chunk
        if len(data) > MAX_BYTES:
            raise OSError(f"settings of more than {MAX_BYTES} bytes")
    return data


def _receive(tee: Tee, settings: Settings, owner: Ed25519PublicKey, stages: Stages) -> Received:
    with ThreadPoolExecutor(1, "beside") as beside:
        making = beside.submit(_key_pair, stages)
        with stages("manifest"):
            signed = read_whole(tee.fetch(settings, "manifest.cose"), MAX_MANIFEST_BYTES)
            manifest, digest = verify_manifest(signed, owner)
        fetching = beside.submit(_fetch_tokenizer, tee, settings, manifest, stages)
        key = _release_key(tee, settings, manifest, making, stages)
        with stages("fetch"):
            stream = tee.fetch(settings, "weights.sealed")
        weights = open_weights(stream, manifest, Opener(manifest, digest, key), stages)
        return Received(manifest, digest, weights, fetching.result())


def _key_pair(stages: Stages) -> rsa.RSAPrivateKey:
    with stages("keypair"):
        return rsa.generate_private_key(public_exponent=65537, key_size=2048)


def _release_key(
    tee: Tee,
    settings: Settings,
    manifest: Manifest,
    making: Future[rsa.RSAPrivateKey],
    stages: Stages,
) -> bytes:
    private_key = making.result()
    with stages("attest"):
        public_key = private_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
        document = tee.attest(public_key=public_key, nonce=secrets.token_bytes(32))
    with stages("key_release"):
        return tee.release_key(settings, manifest, private_key, document)


def _fetch_tokenizer(tee: Tee, settings: Settings, manifest: Manifest, stages: Stages) -> bytes:
    with stages("tokenizer"):
        tokenizer = read_whole(tee.fetch(settings, "tokenizer.json"), manifest.tokenizer_bytes)
        found = sha256(tokenizer).digest()
        if found != manifest.tokenizer_sha256:
            raise VerificationError(
                "tokenizer digest", found=found.hex(), expected=manifest.tokenizer_sha256.hex()
            )
        return tokenizer
