"""Manifests: all there is to know about a sealed model before its key is there; its owner signs it.

A manifest is a deterministic CBOR map by field name in a COSE_Sign1. Three of its fields speak of
the weights. `weights_sha256` names them, in receipts and everywhere else; inside the enclave it is
the owner's word. `key_commitment` leaves one key that can have sealed them. `weights_blake3`, where
there is one, is what they have to hash to once opened, so that not even who has that key can put
others in their place.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from enclave.wire import cbor, cose
from enclave.wire.bounds import Bounds, exactly
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError, VerificationError

MAX_CHUNKS = 1 << 32

_PROTECTED = cbor.encode(
    {cose.ALGORITHM: cose.EDDSA, cose.CONTENT_TYPE: "application/confbench-manifest+cbor"}
)


@dataclass(frozen=True, slots=True)
class Manifest:
    """What the owner says of a model; a field that is None is not in the map."""

    model: str
    version: str
    architecture: str
    source: str  # where the weights come from
    weights_sha256: bytes  # of the plaintext
    weights_bytes: int
    chunk_bytes: int  # of plaintext
    tokenizer_sha256: bytes
    tokenizer_bytes: int
    config: Mapping[str, int | float | str]  # dimensions of the architecture
    wrapped_key: bytes  # KMS ciphertext of the data key
    key_arn: str
    encryption_context: Mapping[str, str]
    nonce_prefix: bytes
    key_commitment: bytes  # sealed.commit(data key): no other key will be used
    weights_blake3: bytes | None = None  # of the plaintext too, cheap enough to check

    @property
    def chunks(self) -> int:
        """How many chunks the weights have."""
        return -(-self.weights_bytes // self.chunk_bytes)

    def chunk_length(self, index: int) -> int:
        """Plaintext bytes of one chunk: the last may be shorter."""
        return min(self.chunk_bytes, self.weights_bytes - index * self.chunk_bytes)

    def encode(self) -> bytes:
        """Deterministic CBOR map by field name; LocalProtocolError if a field is out of bounds."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
        values = {name: value for name, value in values.items() if value is not None}
        values |= {name: dict(values[name]) for name in ("config", "encryption_context")}
        if fault := _fault(values):
            raise LocalProtocolError(f"a manifest that cannot be signed: {fault}")
        return cbor.encode(values)

    @classmethod
    def decode(cls, data: bytes) -> Manifest:
        """The inverse of `encode`; RemoteProtocolError for anything else."""
        values = cbor.decode(data, max_bytes=cose.MAX_BYTES, max_depth=2)
        if type(values) is not dict:
            raise RemoteProtocolError("a manifest is a map")
        if fault := _fault(values):
            raise RemoteProtocolError(fault)
        return cls(**values)


_BOUNDS = {
    "model": Bounds(str, 1, 256),
    "version": Bounds(str, 1, 128),
    "architecture": Bounds(str, 1, 64),
    "source": Bounds(str, 1, 256),
    "weights_sha256": exactly(32),
    "weights_bytes": Bounds(int, 1, 1 << 44),
    "chunk_bytes": Bounds(int, 1, 16 << 20),  # a chunk is held in memory whole
    "tokenizer_sha256": exactly(32),
    "tokenizer_bytes": Bounds(int, 1, 64 << 20),  # so is a tokenizer
    "config": Bounds(dict, 0, 64),
    "wrapped_key": Bounds(bytes, 1, 6144),  # as long as KMS makes them
    "key_arn": Bounds(str, 1, 2048),
    "encryption_context": Bounds(dict, 0, 32),
    "nonce_prefix": exactly(7),
    "key_commitment": exactly(32),
}
_OPTIONAL = {"weights_blake3": exactly(32)}


def _fault(values: Mapping[Any, Any]) -> str:
    """What is wrong with a manifest's fields; empty if nothing is."""
    bounds = _BOUNDS | {name: _OPTIONAL[name] for name in _OPTIONAL.keys() & values.keys()}
    if values.keys() != bounds.keys():
        return "not the closed set of a manifest's fields"
    for name, bound in bounds.items():
        if fault := bound.fault(values[name]):
            return f"{name}: {fault}"
    for name, kinds in (("config", (int, float, str)), ("encryption_context", (str,))):
        entries = values[name].items()
        if any(type(key) is not str or type(entry) not in kinds for key, entry in entries):
            return f"{name} holds an entry of another type"
    chunks = -(-values["weights_bytes"] // values["chunk_bytes"])
    return "" if chunks <= MAX_CHUNKS else f"{chunks} chunks, a nonce counts to {MAX_CHUNKS}"


def sign_manifest(manifest: Manifest, owner: Ed25519PrivateKey) -> bytes:
    """The manifest as the owner's COSE_Sign1 with tag 18."""
    return cose.sign_ed25519(manifest.encode(), owner, protected=_PROTECTED)


def verify_manifest(data: bytes, owner: Ed25519PublicKey) -> tuple[Manifest, bytes]:
    """The owner's manifest and its digest (32 bytes); VerificationError names the failed step.

    1. manifest envelope: a COSE_Sign1 with tag 18.
    2. manifest header: it says that this is a manifest.
    3. manifest signature: the owner made it.
    4. manifest fields: exactly those of a manifest, each within its bounds.
    """
    # 1.
    try:
        message = cose.parse(data, tagged=True)
    except RemoteProtocolError as error:
        raise VerificationError(
            "manifest envelope", found=error, expected="a COSE_Sign1 with tag 18"
        ) from error
    # 2.
    if message.protected != _PROTECTED:
        raise VerificationError(
            "manifest header", found=message.protected.hex(), expected=_PROTECTED.hex()
        )
    # 3.
    payload = cose.verify_ed25519(message, owner, step="manifest signature")
    # 4.
    try:
        return Manifest.decode(payload), sha256(payload).digest()
    except RemoteProtocolError as error:
        raise VerificationError(
            "manifest fields", found=error, expected="the fields of a manifest"
        ) from error
