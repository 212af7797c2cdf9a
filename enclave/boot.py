"""Boot: attest, have the key released, fetch, open and load the model; each a named, timed stage.

Nothing is written to disk. Chunks are opened into one buffer as they arrive, and the model's
tensors are views onto it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from hashlib import sha256
from time import perf_counter_ns
from typing import TYPE_CHECKING

from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from enclave.memory import Buffer
from enclave.stages import Stages
from enclave.tee import SETTINGS_PORT, ObjectStream, Tee
from enclave.wire.errors import VerificationError
from enclave.wire.sealed import TAG_BYTES, Manifest, Opener, verify_manifest
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


def boot(tee: Tee, owner: Ed25519PublicKey, stages: Stages) -> Booted:
    """Everything between start and a loaded model; any failure is fatal."""
    with stages("settings"):
        parent = tee.dial(SETTINGS_PORT)
        settings = Settings.decode(_receive_settings(parent))
    with stages("import"):
        from enclave.models import engine as engines  # torch: seconds, so a stage of its own
    with stages("manifest"):
        signed = _read_whole(tee.fetch(settings, "manifest.cose"), MAX_MANIFEST_BYTES)
        manifest, digest = verify_manifest(signed, owner)
    key = _release_key(tee, settings, manifest, stages)
    weights = _open_weights(tee, settings, Opener(manifest, digest, key), manifest, stages)
    tokenizer = _fetch_tokenizer(tee, settings, manifest, stages)
    with stages("load"):
        engine = engines.load(
            manifest.architecture, manifest.config, weights, tokenizer, threads=settings.threads
        )
    with stages("first_inference"):
        engine.run(("the enclave is ready",))
    return Booted(settings, manifest, digest, engine, tee.measurements(), stages, parent)


def _receive_settings(parent: socket.socket) -> bytes:
    data = b""
    while chunk := parent.recv(MAX_BYTES):
        data += chunk
        if len(data) > MAX_BYTES:
            raise OSError(f"settings of more than {MAX_BYTES} bytes")
    return data


def _release_key(tee: Tee, settings: Settings, manifest: Manifest, stages: Stages) -> bytes:
    with stages("keypair"):
        private_key = rsa.generate_private_key(public_exponent=65537, key_size=2048)
        public_key = private_key.public_key().public_bytes(
            Encoding.DER, PublicFormat.SubjectPublicKeyInfo
        )
    with stages("attest"):
        document = tee.attest(public_key=public_key, nonce=secrets.token_bytes(32))
    with stages("key_release"):
        return tee.release_key(settings, manifest, private_key, document)


def _open_weights(
    tee: Tee, settings: Settings, opener: Opener, manifest: Manifest, stages: Stages
) -> Buffer:
    """Fetch and open chunk by chunk into anonymous private memory, the two timed apart."""
    with stages("fetch"):
        stream = tee.fetch(settings, "weights.sealed")
        sealed_bytes = manifest.weights_bytes + manifest.chunks * TAG_BYTES
        if stream.length != sealed_bytes:
            raise VerificationError("sealed length", found=stream.length, expected=sealed_bytes)
        weights = Buffer(manifest.weights_bytes)
        sealed = memoryview(bytearray(manifest.chunk_bytes + TAG_BYTES))
    for index in range(manifest.chunks):
        start = index * manifest.chunk_bytes
        out = weights.view[start : start + manifest.chunk_bytes]
        began = perf_counter_ns()
        chunk = sealed[: len(out) + TAG_BYTES]
        _fill(stream, chunk)
        fetched = perf_counter_ns()
        opener.open_into(index, chunk, out)
        stages.add("fetch", fetched - began)
        stages.add("open", perf_counter_ns() - fetched)
    return weights


def _fetch_tokenizer(tee: Tee, settings: Settings, manifest: Manifest, stages: Stages) -> bytes:
    with stages("tokenizer"):
        tokenizer = _read_whole(tee.fetch(settings, "tokenizer.json"), manifest.tokenizer_bytes)
        found = sha256(tokenizer).digest()
        if found != manifest.tokenizer_sha256:
            raise VerificationError(
                "tokenizer digest", found=found.hex(), expected=manifest.tokenizer_sha256.hex()
            )
        return tokenizer


def _read_whole(stream: ObjectStream, limit: int) -> bytes:
    if stream.length > limit:
        raise VerificationError("object length", found=stream.length, expected=f"at most {limit}")
    data = bytearray(stream.length)
    _fill(stream, memoryview(data))
    return bytes(data)


def _fill(stream: ObjectStream, view: memoryview) -> None:
    while view:
        count = stream.readinto(view)
        if count == 0:
            raise VerificationError("object length", found="an early end", expected="all bytes")
        view = view[count:]
