"""Objects of a sealed model as they come: small ones whole, the weights opened on the way.

Rule of the file: a chunk is read, opened and hashed by one thread while it lies in that core's
cache; nobody looks at the data a second time. Sockets, AEAD and hash leave the interpreter to
others, so two threads do this beside a third that imports.
"""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from threading import Lock

from enclave.memory import Buffer
from enclave.stages import Stages
from enclave.tee import ObjectStream
from enclave.wire.errors import VerificationError
from enclave.wire.manifest import Manifest
from enclave.wire.sealed import TAG_BYTES, Opener, Whole

WORKERS = 2


def read_whole(stream: ObjectStream, limit: int) -> bytes:
    """A small object; VerificationError where it is longer than `limit` or ends early."""
    if stream.length > limit:
        raise VerificationError("object length", found=stream.length, expected=f"at most {limit}")
    data = bytearray(stream.length)
    _fill(stream, memoryview(data))
    return bytes(data)


def open_weights(
    stream: ObjectStream, manifest: Manifest, opener: Opener, stages: Stages
) -> Buffer:
    """All weights in one private buffer; VerificationError unless they are the manifest's.

    Stages `fetch`, `open` and `hash`, which overlap.
    """
    sealed_bytes = manifest.weights_bytes + manifest.chunks * TAG_BYTES
    if stream.length != sealed_bytes:
        raise VerificationError("sealed length", found=stream.length, expected=sealed_bytes)
    arrival = _Arrival(stream, manifest, opener, stages)
    with ThreadPoolExecutor(WORKERS, "weights") as pool:
        for done in [pool.submit(arrival.work) for _ in range(WORKERS)]:
            done.result()
    arrival.whole.verify()
    return arrival.weights


class _Arrival:
    """Weights on their way into memory, by several hands."""

    def __init__(
        self, stream: ObjectStream, manifest: Manifest, opener: Opener, stages: Stages
    ) -> None:
        self.weights = Buffer(manifest.weights_bytes)
        self.whole = Whole(manifest)
        self._stream, self._manifest, self._opener = stream, manifest, opener
        self._stages = stages
        self._indices = iter(range(manifest.chunks))
        self._reading, self._hashing = Lock(), Lock()

    def work(self) -> None:
        """Chunk after chunk, until none is left or one of anybody's fails."""
        sealed = memoryview(bytearray(self._manifest.chunk_bytes + TAG_BYTES))
        try:
            while (index := self._read(sealed)) is not None:
                length = self._manifest.chunk_length(index)
                start = index * self._manifest.chunk_bytes
                chunk = self.weights.view[start : start + length]
                with self._stages("open"):
                    self._opener.open_into(index, sealed[: length + TAG_BYTES], chunk)
                with self._hashing, self._stages("hash"):
                    self.whole.add(index, chunk)
        except BaseException:
            self._indices = iter(())
            raise

    def _read(self, sealed: memoryview) -> int | None:
        """The next chunk into `sealed`; its index, None after the last."""
        with self._reading:
            index = next(self._indices, None)
            if index is not None:
                with self._stages("fetch"):
                    _fill(self._stream, sealed[: self._manifest.chunk_length(index) + TAG_BYTES])
            return index


def _fill(stream: ObjectStream, view: memoryview) -> None:
    while view:
        count = stream.readinto(view)
        if count == 0:
            raise VerificationError("object length", found="an early end", expected="all bytes")
        view = view[count:]
