"""Sealed weights: chunks that open at their own place in their own model, and nowhere else.

Weights are cut into chunks of `chunk_bytes`, the last one shorter, each sealed by itself with
AES-256-GCM (NIST SP 800-38D) in the STREAM construction (Hoang and others, 2015):

nonce    prefix (7 random bytes, in the manifest), chunk index (u32), final (u8: 1 for the last)
data     label, digest of the manifest, chunk index (u64), chunk count (u64), final (u8)
sealed   ciphertext, tag (16 bytes)

A key seals one model, once. An opened chunk was made by someone who had that key, for that
manifest; that the chunks are the ones the owner signed is `Whole`'s to say.
"""

from __future__ import annotations

import struct
from collections.abc import Iterable, Iterator
from hashlib import sha256

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from enclave.wire.errors import LocalProtocolError, VerificationError
from enclave.wire.manifest import Manifest

CHUNK_BYTES = 1 << 20  # the usual size: large enough to be fast, small enough for a cache
TAG_BYTES = 16
KEY_BYTES = 32

Buffer = bytes | bytearray | memoryview

_NONCE = struct.Struct(">7sIB")
_LABEL = b"confbench/1 sealed chunk"
_ADDITIONAL = struct.Struct(f">{len(_LABEL)}s32sQQB")
_COMMITMENT_LABEL = b"confbench/1 data key"


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
    aead, whole = AESGCM(key), Whole(manifest)
    for index, chunk in enumerate(chunks):
        if index == manifest.chunks or len(chunk) != manifest.chunk_length(index):
            raise LocalProtocolError(f"chunk {index} of {len(chunk)} bytes has no place")
        nonce, additional = _place(manifest, digest, index)
        whole.add(index, chunk)
        yield aead.encrypt(nonce, chunk, additional)
    try:
        whole.verify()
    except VerificationError as error:
        raise LocalProtocolError("the weights are not those of the manifest") from error


class Opener:
    """Opens the chunks of one model, in any order, also in several threads at once."""

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
        self._aead = AESGCM(key)

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
        size = self._manifest.chunk_length(index)
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
        whole = Whole(self._manifest)
        for index, sealed_chunk in enumerate(sealed_chunks):
            chunk = self.open_chunk(index, sealed_chunk)
            whole.add(index, chunk)
            yield chunk
        whole.verify()


class Whole:
    """Whether opened chunks make up the weights that the owner signed.

    They may be added in any order, each once; a hash takes them in theirs, so that they can be
    hashed while they still lie in a cache. Callers in several threads take turns.
    """

    def __init__(self, manifest: Manifest) -> None:
        self._manifest = manifest
        self._next = 0
        self._early: dict[int, Buffer] = {}
        self._hash = None
        if manifest.weights_blake3 is not None:
            from blake3 import blake3  # only who opens or seals weights needs it

            self._hash = blake3()

    def add(self, index: int, chunk: Buffer) -> None:
        """Chunk `index`, opened; it is looked at until all before it have come."""
        self._early[index] = chunk
        while self._next in self._early:
            chunk = self._early.pop(self._next)
            if self._hash is not None:
                self._hash.update(chunk)
            self._next += 1

    def verify(self) -> None:
        """After the last chunk; VerificationError names the step that failed.

        1. chunk count: every chunk has come.
        2. weights digest: their BLAKE3 hash is the one in the manifest, where it has one.
        """
        # 1.
        chunks = self._manifest.chunks
        if self._next != chunks:
            raise VerificationError("chunk count", found=self._next, expected=chunks)
        # 2.
        found = None if self._hash is None else self._hash.digest()
        if found != self._manifest.weights_blake3:
            raise VerificationError(
                "weights digest",
                found="other weights",
                expected="those whose hash the owner signed",
                hint="they were sealed with the data key, but not by the owner",
            )


def _fits(manifest: Manifest, key: Buffer) -> bool:
    return len(key) == KEY_BYTES and manifest.key_commitment == commit(key)


def _place(manifest: Manifest, digest: bytes, index: int) -> tuple[bytes, bytes]:
    """Nonce and additional data of a chunk."""
    count = manifest.chunks
    final = index == count - 1
    nonce = _NONCE.pack(manifest.nonce_prefix, index, final)
    return nonce, _ADDITIONAL.pack(_LABEL, digest, index, count, final)
