"""What the hardware and its host offer to the code inside.

One file per platform; which one runs is decided by the measured kernel command line alone.
"""

from __future__ import annotations

import socket
from collections.abc import Iterator
from typing import Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from enclave.wire.manifest import Manifest
from enclave.wire.settings import Settings

SERVICE_PORT = 5000
ECHO_PORT = 5001
SETTINGS_PORT = 7000
KMS_PORT = 8000
OBJECTS_PORT = 8001


class ObjectStream(Protocol):
    """An object as it arrives: `length` bytes in all, read once, in order."""

    length: int

    def readinto(self, buffer: memoryview, /) -> int: ...


class Tee(Protocol):
    """A trusted execution environment, seen from inside."""

    @property
    def platform(self) -> str: ...

    @property
    def write_bytes(self) -> int | None:
        """The most that one write may carry."""

    def attest(
        self,
        *,
        public_key: bytes | None = None,
        user_data: bytes | None = None,
        nonce: bytes | None = None,
    ) -> bytes:
        """A fresh attestation document that binds what is given."""

    def measurements(self) -> dict[int, bytes]:
        """The PCRs that name this image: 0, 1 and 2."""

    def release_key(
        self, settings: Settings, manifest: Manifest, private_key: RSAPrivateKey, document: bytes
    ) -> bytes:
        """The data key of a sealed model, wrapped to the attested `private_key`'s public half."""

    def fetch(self, settings: Settings, name: str) -> ObjectStream:
        """Open an object of the model's prefix."""

    def dial(self, port: int) -> socket.socket:
        """Connect to a port of the parent."""

    def accept(self) -> Iterator[tuple[int, socket.socket]]:
        """Connections from the parent, for ever: (port, connected socket)."""
