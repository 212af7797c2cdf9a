"""Boot against a host that hands in what it likes: a model that answers, or the named refusal."""

from __future__ import annotations

import socket
from collections.abc import Mapping
from dataclasses import replace
from hashlib import sha256
from typing import Any, cast

import pytest
from blake3 import blake3

from bench.weights import seeded
from enclave.boot import Booted, boot
from enclave.models import bert
from enclave.stages import Stages
from enclave.tee import SETTINGS_PORT, Tee
from enclave.tee.cms import KeyReleaseError
from enclave.wire import sealed
from enclave.wire.errors import RemoteProtocolError, VerificationError
from enclave.wire.manifest import sign_manifest
from enclave.wire.settings import Settings
from tests.enclave.test_objects import Stream
from tests.enclave.tiny import TINY
from tests.wire.sealing import KEY, MANIFEST, OWNER

CHUNK = 4096
DIMENSIONS = bert.dimensions(TINY | {"vocab_size": 128})
WEIGHTS = b"".join(seeded.weights(bert.shapes(DIMENSIONS), 1))
TOKENIZER = seeded.tokenizer()
MODEL = replace(
    MANIFEST,
    weights_bytes=len(WEIGHTS),
    weights_blake3=blake3(WEIGHTS).digest(),
    chunk_bytes=CHUNK,
    tokenizer_sha256=sha256(TOKENIZER).digest(),
    tokenizer_bytes=len(TOKENIZER),
    config=DIMENSIONS,
)
SETTINGS = Settings("http://kms", "http://objects", "r", "b", "p", 1, 1, False, "", "", "")
STAGES = ["settings", "import", "manifest", "keypair", "tokenizer", "attest", "key_release"]
STAGES += ["fetch", "open", "hash", "load", "first_inference"]


def objects(**changed: Any) -> dict[str, bytes]:
    """What an honest host has; `changed` are fields of the manifest."""
    model = replace(MODEL, **changed)
    digest = sha256(model.encode()).digest()
    pieces = [WEIGHTS[at : at + CHUNK] for at in range(0, len(WEIGHTS), CHUNK)]
    return {
        "manifest.cose": sign_manifest(model, OWNER),
        "tokenizer.json": TOKENIZER,
        "weights.sealed": b"".join(sealed.seal(model, digest, KEY, pieces)),
    }


HONEST = objects()


class HostedTee:
    """An enclave's view of a host that answers from memory."""

    platform = "local"
    write_bytes = None

    def __init__(
        self, objects: Mapping[str, bytes], key: bytes | Exception, settings: bytes
    ) -> None:
        self._objects, self._key, self._settings = objects, key, settings
        self.streams: list[socket.socket] = []

    def dial(self, port: int) -> socket.socket:
        assert port == SETTINGS_PORT
        ours, theirs = socket.socketpair()
        self.streams += ours, theirs
        theirs.sendall(self._settings)
        theirs.shutdown(socket.SHUT_WR)
        return ours

    def attest(self, **bound: bytes) -> bytes:
        assert bound.keys() == {"public_key", "nonce"}
        return b"document"

    def release_key(
        self, settings: object, manifest: object, key: object, document: bytes
    ) -> bytes:
        assert document == b"document"
        if isinstance(self._key, Exception):
            raise self._key
        return self._key

    def fetch(self, settings: object, name: str) -> Stream:
        if name not in self._objects:
            raise RemoteProtocolError(f"object {name!r}: NoSuchKey")
        return Stream(self._objects[name])

    def measurements(self) -> dict[int, bytes]:
        return {index: bytes(48) for index in (0, 1, 2)}


def booted(
    objects: Mapping[str, bytes] = HONEST,
    key: bytes | Exception = KEY,
    settings: bytes = SETTINGS.encode(),
) -> Booted:
    tee = HostedTee(objects, key, settings)
    try:
        return boot(cast(Tee, tee), OWNER.public_key(), Stages())
    finally:
        for stream in tee.streams:
            stream.close()


def without(name: str) -> dict[str, bytes]:
    return {other: data for other, data in HONEST.items() if other != name}


def changed(name: str, at: int = 200) -> dict[str, bytes]:
    data = bytearray(HONEST[name])
    data[at] ^= 1
    return HONEST | {name: bytes(data)}


def test_a_boot_ends_in_a_model_that_answers_and_a_time_for_every_stage() -> None:
    done = booted()
    assert done.manifest == MODEL
    assert done.manifest_digest == sha256(MODEL.encode()).digest()
    assert done.engine.run(("text",)).shape == (1, TINY["hidden_size"])
    rows = done.stages.rows()
    assert sorted(str(row[0]) for row in rows) == sorted(STAGES)
    assert rows[0][0] == "settings"
    assert rows[-1][0] == "first_inference"


def test_a_manifest_need_not_promise_a_hash() -> None:
    done = booted(objects(weights_blake3=None))
    assert done.manifest.weights_blake3 is None


REFUSED: dict[str, tuple[Mapping[str, bytes], bytes | Exception, type[Exception], str]] = {
    "manifest changed": (changed("manifest.cose"), KEY, VerificationError, "manifest signature"),
    "tokenizer changed": (changed("tokenizer.json"), KEY, VerificationError, "tokenizer digest"),
    "weights changed": (changed("weights.sealed"), KEY, VerificationError, "chunk authentic"),
    "no manifest": (without("manifest.cose"), KEY, RemoteProtocolError, "manifest.cose"),
    "no tokenizer": (without("tokenizer.json"), KEY, RemoteProtocolError, "tokenizer.json"),
    "no weights": (without("weights.sealed"), KEY, RemoteProtocolError, "weights.sealed"),
    "another key": (HONEST, bytes(32), VerificationError, "data key"),
    "no key": (HONEST, KeyReleaseError("denied"), KeyReleaseError, "denied"),
    "no machine": (HONEST, OSError("hung up"), OSError, "hung up"),
    "no architecture": (objects(architecture="none"), KEY, VerificationError, "architecture"),
    "other dimensions": (
        objects(config=DIMENSIONS | {"vocab_size": 127}),
        KEY,
        RemoteProtocolError,
        "word_embeddings",
    ),
}


@pytest.mark.attack(31, 36)
@pytest.mark.parametrize(("objects", "key", "error", "message"), REFUSED.values(), ids=REFUSED)
def test_whatever_fails_beside_the_import_ends_the_boot(
    objects: Mapping[str, bytes], key: bytes | Exception, error: type[Exception], message: str
) -> None:
    with pytest.raises(error, match=message):
        booted(objects, key)


@pytest.mark.parametrize(
    ("settings", "error"),
    [(b"\xa0", RemoteProtocolError), (bytes(20_000), OSError)],
    ids=["not settings", "without an end"],
)
def test_settings_that_are_none_end_it_before_anything_else(
    settings: bytes, error: type[Exception]
) -> None:
    with pytest.raises(error, match="settings"):
        booted({}, settings=settings)
