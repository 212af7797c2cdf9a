"""From nothing to a first inference on weights sealed in a local folder, the key at hand.

`python -m bench.peers.start FOLDER THREADS`, with data key and owner's public key in hex, a line
each, on standard input. What the enclave does between its start and its first answer, but for
attestation, release and network; when done it says its peak memory in bytes on standard output.
"""

from __future__ import annotations

import os
import sys
from functools import partial
from io import FileIO
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from enclave.boot import Received, load
from enclave.memory import peak_rss_bytes
from enclave.objects import open_weights
from enclave.stages import Stages
from enclave.wire.manifest import verify_manifest
from enclave.wire.sealed import Opener


class File:
    """A local file as the enclave sees an object."""

    def __init__(self, path: Path) -> None:
        self._file = FileIO(path)
        self.length = path.stat().st_size

    def readinto(self, buffer: memoryview, /) -> int:
        """As many bytes as came; 0 at the end."""
        return self._file.readinto(buffer) or 0

    def close(self) -> None:
        """It is not read to its end where its content is refused."""
        self._file.close()


def main() -> None:
    """Load, infer, say so."""
    folder, threads = Path(sys.argv[1]), int(sys.argv[2])
    key, owner = (bytes.fromhex(sys.stdin.readline()) for _ in range(2))
    stages = Stages()
    receive = partial(_receive, folder, key, owner, stages)
    load(receive, stages, threads=threads, batch=1, device="cpu")
    print(peak_rss_bytes(), flush=True)
    os._exit(0)  # as a server, which is killed: torch's threads do not live through a tidy end


def _receive(folder: Path, key: bytes, owner: bytes, stages: Stages) -> Received:
    signed = (folder / "manifest.cose").read_bytes()
    manifest, digest = verify_manifest(signed, Ed25519PublicKey.from_public_bytes(owner))
    stream = File(folder / "weights.sealed")
    weights = open_weights(stream, manifest, Opener(manifest, digest, key), stages)
    return Received(manifest, digest, weights, (folder / "tokenizer.json").read_bytes())


if __name__ == "__main__":
    main()
