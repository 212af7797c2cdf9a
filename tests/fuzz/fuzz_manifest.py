"""Manifests, as they come and as fields under the owner's signature; settings beside them."""

from __future__ import annotations

from contextlib import suppress

from enclave.wire.errors import RemoteProtocolError, VerificationError
from enclave.wire.manifest import Manifest, verify_manifest
from enclave.wire.settings import Settings
from tests.wire.sealing import MANIFEST, OWNER, SIGNED

WORDS = ("http://kms", "http://objects", "local-1", "bucket", "prefix")
SETTINGS = Settings(*WORDS, 2, 100, True, "id", "secret", "token")
SEEDS = (SIGNED, MANIFEST.encode(), SETTINGS.encode())


def judge(data: bytes) -> None:
    with suppress(VerificationError):
        assert verify_manifest(data, OWNER.public_key())[0] == MANIFEST
    with suppress(RemoteProtocolError):
        assert Manifest.decode(data).encode() == data
    with suppress(RemoteProtocolError):
        assert Settings.decode(data).encode() == data
