"""Seal a fetched model for one platform: chunks under a data key, a manifest its owner signs.

The manifest holds two hashes of the weights: SHA-256, by which everyone names them, and BLAKE3,
which the enclave can afford to check. The data key comes from the platform's KMS, in the clear for
this one use and wrapped for the manifest; only an attested enclave can have it unwrapped again.
"""

from __future__ import annotations

import json
from collections.abc import Iterable
from hashlib import sha256
from pathlib import Path

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench import files
from bench.weights import TOKENIZER, WEIGHTS, deposit
from enclave.wire import sealed
from enclave.wire.manifest import Manifest, sign_manifest, verify_manifest

CHUNK_BYTES = 1 << 20


def context(model: str, version: str) -> dict[str, str]:
    """The encryption context under which a model's data key is wrapped."""
    return {"model": model, "version": version}


def seal(
    source: Path,
    folder: Path,
    *,
    data_key: bytes,
    wrapped_key: bytes,
    key_arn: str,
    owner: Ed25519PrivateKey,
    nonce_prefix: bytes,
) -> None:
    """Write weights.sealed, tokenizer.json, manifest.cose and, last, the small sealed.json.

    `wrapped_key` is `data_key` (32 bytes) under the KMS key `key_arn` and this model's `context`.
    """
    model = deposit.read(source)
    manifest = Manifest(
        model=model.model,
        version=model.version,
        architecture=model.architecture,
        source=model.source,
        weights_sha256=bytes.fromhex(model.files[WEIGHTS].sha256),
        weights_bytes=model.files[WEIGHTS].bytes,
        chunk_bytes=CHUNK_BYTES,
        tokenizer_sha256=bytes.fromhex(model.files[TOKENIZER].sha256),
        tokenizer_bytes=model.files[TOKENIZER].bytes,
        config=model.config,
        wrapped_key=wrapped_key,
        key_arn=key_arn,
        encryption_context=context(model.model, model.version),
        nonce_prefix=nonce_prefix,
        key_commitment=sealed.commit(data_key),
        weights_blake3=_blake3(source / WEIGHTS),
    )
    signed = sign_manifest(manifest, owner)
    _, digest = verify_manifest(signed, owner.public_key())
    chunks = deposit.chunks(source / WEIGHTS)
    _put(folder / "weights.sealed", sealed.seal(manifest, digest, data_key, chunks))
    _put(folder / "tokenizer.json", [(source / TOKENIZER).read_bytes()])
    _put(folder / "manifest.cose", [signed])
    facts = {"manifest_digest": digest.hex(), "manifest_sha256": sha256(signed).hexdigest()}
    _put(folder / "sealed.json", [json.dumps(facts, indent=2, sort_keys=True).encode() + b"\n"])


def _blake3(path: Path) -> bytes:
    found = blake3()
    for chunk in deposit.chunks(path):
        found.update(chunk)
    return found.digest()


def _put(path: Path, chunks: Iterable[bytes]) -> None:
    with files.replacing(path) as file:
        for chunk in chunks:
            file.write(chunk)
