"""Weights from a local file into memory: opened and checked as the enclave does it, or only read.

The bytes are random and of any size, since nothing looks into them. Every load goes to a buffer of
its own, so that all pay for its pages; the file lies in the page cache.
"""

from __future__ import annotations

import atexit
import os
import platform
import secrets
import tempfile
import time
from collections.abc import Callable, Iterable, Iterator
from contextlib import closing
from dataclasses import dataclass, field
from hashlib import sha256
from importlib import metadata
from io import FileIO
from pathlib import Path

from blake3 import blake3

from bench.peers import Message, Order
from bench.peers.start import File
from enclave.memory import Buffer
from enclave.objects import open_weights
from enclave.stages import Stages
from enclave.wire import sealed
from enclave.wire.manifest import Manifest

CHUNK_BYTES = 1 << 20
HASHED = "sealed_blake3"
PLAINTEXT = "plaintext"


@dataclass(frozen=True, slots=True)
class Loader:
    """One side of the comparison; files are made when their size is first asked for."""

    side: str
    folder: Path
    loads: dict[int, Callable[[], Buffer]] = field(default_factory=dict)

    def facts(self) -> Message:
        """As the engines' facts; the enclave opens with a number of threads of its own."""
        return {
            "libraries": {name: metadata.version(name) for name in ("cryptography", "blake3")},
            "python": platform.python_version(),
            "cpus": sorted(os.sched_getaffinity(0)),
        }

    def answer(self, request: Message) -> Message:
        """`{megabytes}` to `{load_ns, bytes}`."""
        size = int(request["megabytes"]) * 10**6
        if size not in self.loads:
            self.loads[size] = self._prepare(size)
        start = time.perf_counter_ns()
        found = self.loads[size]()
        elapsed_ns = time.perf_counter_ns() - start
        return {"load_ns": elapsed_ns, "bytes": len(found.view)}

    def _prepare(self, size: int) -> Callable[[], Buffer]:
        path = self.folder / f"{size}"
        if self.side == PLAINTEXT:
            _write(path, _chunks(size))
            return lambda: _read(path, size)
        key = secrets.token_bytes(32)
        data = b"".join(_chunks(size))
        manifest = _manifest(data, key, hashed=self.side == HASHED)
        digest = sha256(manifest.encode()).digest()
        pieces = (data[start : start + CHUNK_BYTES] for start in range(0, size, CHUNK_BYTES))
        _write(path, sealed.seal(manifest, digest, key, pieces))
        opener = sealed.Opener(manifest, digest, key)
        return lambda: _open(path, manifest, opener)


def open(order: Order) -> Loader:  # noqa: A001
    """With a folder that ends with the process."""
    folder = tempfile.TemporaryDirectory(prefix="confbench-load-")
    atexit.register(folder.cleanup)
    return Loader(order.side, Path(folder.name))


def _open(path: Path, manifest: Manifest, opener: sealed.Opener) -> Buffer:
    with closing(File(path)) as stream:
        return open_weights(stream, manifest, opener, Stages())


def _read(path: Path, size: int) -> Buffer:
    buffer = Buffer(size)
    with FileIO(path) as file:
        rest = buffer.view
        while rest:
            rest = rest[file.readinto(rest) :]
    return buffer


def _manifest(data: bytes, key: bytes, *, hashed: bool) -> Manifest:
    return Manifest(
        model="load",
        version="1",
        architecture="bert",
        source="seeded",
        weights_sha256=sha256(data).digest(),
        weights_bytes=len(data),
        chunk_bytes=CHUNK_BYTES,
        tokenizer_sha256=bytes(32),
        tokenizer_bytes=1,
        config={},
        wrapped_key=bytes(1),
        key_arn="arn:aws:kms:eu-west-1:000000000000:key/load",
        encryption_context={},
        nonce_prefix=secrets.token_bytes(7),
        key_commitment=sealed.commit(key),
        weights_blake3=blake3(data).digest() if hashed else None,
    )


def _chunks(size: int) -> Iterator[bytes]:
    for start in range(0, size, CHUNK_BYTES):
        yield secrets.token_bytes(min(CHUNK_BYTES, size - start))


def _write(path: Path, pieces: Iterable[bytes]) -> None:
    with path.open("wb") as file:
        file.writelines(pieces)
