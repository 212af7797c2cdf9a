"""Sealed models: a manifest that the owner signs, and weights that open under it alone.

Weights are cut into chunks of `chunk_bytes`, the last one shorter, each sealed by itself with
ChaCha20-Poly1305 (RFC 8439) in the STREAM construction (Hoang and others, 2015):

nonce    prefix (7 random bytes, in the manifest), chunk index (u32), final (u8: 1 for the last)
data     label, digest of the manifest, chunk index (u64), chunk count (u64), final (u8)
sealed   ciphertext, tag (16 bytes)

So a chunk opens at its own place in its own model and nowhere else. A key seals one model, once.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, fields
from hashlib import sha256
from typing import Any

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey
from cryptography.hazmat.primitives.ciphers.aead import ChaCha20Poly1305

from enclave.wire import cbor, cose
from enclave.wire.bounds import Bounds, exactly
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError, VerificationError

CHUNK_BYTES = 1 << 20  # the usual size: large enough to be fast, small enough for a cache
TAG_BYTES = 16
KEY_BYTES = 32
MAX_CHUNKS = 1 << 32

Buffer = bytes | bytearray | memoryview

_PROTECTED = cbor.encode(
    {cose.ALGORITHM: cose.EDDSA, cose.CONTENT_TYPE: "application/confbench-manifest+cbor"}
)
_NONCE = struct.Struct(">7sIB")
_LABEL = b"confbench/1 sealed chunk"
_ADDITIONAL = struct.Struct(f">{len(_LABEL)}s32sQQB")
_COMMITMENT_LABEL = b"confbench/1 data key"


@dataclass(frozen=True, slots=True)
class Manifest:
    """All there is to know about a sealed model before its key is there."""

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
    key_commitment: bytes  # commit(data key): no other key will be used

    @property
    def chunks(self) -> int:
        """How many chunks the weights have."""
        return -(-self.weights_bytes // self.chunk_bytes)

    def encode(self) -> bytes:
        """Deterministic CBOR map by field name; LocalProtocolError if a field is out of bounds."""
        values = {field.name: getattr(self, field.name) for field in fields(self)}
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


def _fault(values: Mapping[Any, Any]) -> str:
    """What is wrong with a manifest's fields; empty if nothing is."""
    if values.keys() != _BOUNDS.keys():
        return "not the closed set of a manifest's fields"
    for name, bounds in _BOUNDS.items():
        if fault := bounds.fault(values[name]):
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


def commit(key: Buffer) -> bytes:
    """A commitment to a random data key (32 bytes), safe to publish.

    Whoever answers for the KMS could hand in a key of his own, and weights sealed with it; with the
    commitment under the owner's signature no key but the owner's is taken.
    """
    return sha256(b"".join((_COMMITMENT_LABEL, key))).digest()


def seal(
    manifest: Manifest, digest: bytes, key: Buffer, chunks: Iterable[Buffer]
) -> Iterator[bytes]:
    """Seal the weights chunk by chunk; LocalProtocolError where they are not as the manifest says.

    `digest` is that of the signed manifest, `key` 32 random bytes never used before.
    """
    if not _fits(manifest, key) or sha256(manifest.encode()).digest() != digest:
        raise LocalProtocolError("the data key or the digest is not the one of the manifest")
    aead = ChaCha20Poly1305(key)
    count = 0
    for chunk in chunks:
        if count == manifest.chunks or len(chunk) != _chunk_bytes(manifest, count):
            raise LocalProtocolError(f"chunk {count} of {len(chunk)} bytes has no place")
        nonce, additional = _place(manifest, digest, count)
        yield aead.encrypt(nonce, chunk, additional)
        count += 1
    if count != manifest.chunks:
        raise LocalProtocolError(f"{count} chunks, the manifest says {manifest.chunks}")


class Opener:
    """Opens the chunks of one model, in any order."""

    def __init__(self, manifest: Manifest, digest: bytes, key: Buffer) -> None:
        """VerificationError("data key") if the released key cannot be the owner's."""
        if not _fits(manifest, key):
            raise VerificationError(
                "data key",
                found="another key",
                expected="the key that the manifest commits to",
                hint="the key service answered with a key that did not seal this model",
            )
        self._manifest = manifest
        self._digest = digest
        self._aead = ChaCha20Poly1305(key)

    def open_into(self, index: int, sealed_chunk: Buffer, out: memoryview) -> int:
        """Open chunk `index` into the start of `out`, without a copy; how many bytes it has.

        VerificationError names the step that failed, and `out` then holds zeros, no plaintext.
        1. chunk index: the model has such a chunk.
        2. chunk length: as the manifest says.
        3. chunk authentication: unchanged, at its own place, of this model and key.
        """
        # 1.
        chunks = self._manifest.chunks
        if not 0 <= index < chunks:
            raise VerificationError("chunk index", found=index, expected=f"0 to {chunks - 1}")
        # 2.
        size = _chunk_bytes(self._manifest, index)
        if len(sealed_chunk) != size + TAG_BYTES:
            raise VerificationError(
                "chunk length", found=len(sealed_chunk), expected=size + TAG_BYTES
            )
        if len(out) < size:
            raise LocalProtocolError(
                f"chunk {index} has {size} bytes, there is room for {len(out)}"
            )
        # 3.
        nonce, additional = _place(self._manifest, self._digest, index)
        target = out[:size]
        try:
            return self._aead.decrypt_into(nonce, sealed_chunk, additional, target)
        except InvalidTag:
            target[:] = bytes(size)  # the library leaves what it decrypted
            raise VerificationError(
                "chunk authentication",
                found=f"chunk {index} that does not open",
                expected="the chunk sealed for this place in this model",
                hint="it was changed, moved, or belongs to another model or key",
            ) from None

    def open_chunk(self, index: int, sealed_chunk: Buffer) -> bytes:
        """As `open_into`, into fresh memory."""
        out = bytearray(max(0, len(sealed_chunk) - TAG_BYTES))
        self.open_into(index, sealed_chunk, memoryview(out))
        return bytes(out)

    def open(self, sealed_chunks: Iterable[Buffer]) -> Iterator[bytes]:
        """The inverse of `seal`; the weights are whole only when this ends without an error."""
        count = 0
        for count, sealed_chunk in enumerate(sealed_chunks, start=1):
            yield self.open_chunk(count - 1, sealed_chunk)
        if count != self._manifest.chunks:
            raise VerificationError("chunk count", found=count, expected=self._manifest.chunks)


def _fits(manifest: Manifest, key: Buffer) -> bool:
    return len(key) == KEY_BYTES and manifest.key_commitment == commit(key)


def _chunk_bytes(manifest: Manifest, index: int) -> int:
    return min(manifest.chunk_bytes, manifest.weights_bytes - index * manifest.chunk_bytes)


def _place(manifest: Manifest, digest: bytes, index: int) -> tuple[bytes, bytes]:
    """Nonce and additional data of a chunk."""
    count = manifest.chunks
    final = index == count - 1
    nonce = _NONCE.pack(manifest.nonce_prefix, index, final)
    return nonce, _ADDITIONAL.pack(_LABEL, digest, index, count, final)
