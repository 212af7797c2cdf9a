"""Our own vectors: what the generator makes is what lies here, and gets its verdict."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from enclave.wire import batch, receipt, sealed
from enclave.wire.errors import VerificationError
from enclave.wire.manifest import verify_manifest
from tests.vectors.make_wire import FOLDER, vectors
from tests.vectors.vector import Vector

PATHS = sorted(FOLDER.rglob("*.txt"))
TEXTS = ("security_mode", "model_id")
NUMBERS = ("now", "max_age_s", "sequence")


def read(path: Path) -> Vector:
    return Vector.decode(path.parent.name, path.stem, path.read_text())


def test_the_generator_makes_these_files() -> None:
    made = {FOLDER / vector.kind / f"{vector.name}.txt": vector.encode() for vector in vectors()}
    found = {path: path.read_text() for path in PATHS}
    assert found == made, "run python -m tests.vectors.make_wire"


def expectation(name: str, value: str) -> Any:
    if name in NUMBERS:
        return int(value)
    return value if name in TEXTS else bytes.fromhex(value)


def verify(vector: Vector) -> None:
    header = dict(vector.header)
    del header["expect"], header["comment"]
    if vector.kind == "chunk":
        open_chunk(vector, **header)
        return
    if vector.kind == "weights":
        open_weights(vector, **header)
        return
    key = Ed25519PublicKey.from_public_bytes(bytes.fromhex(header.pop("key")))
    if vector.kind == "receipt":
        expected = {name: expectation(name, value) for name, value in header.items()}
        receipt.verify(vector.data, key, expected=receipt.Expected(**expected))
    else:
        {"statement": batch.verify, "manifest": verify_manifest}[vector.kind](vector.data, key)


def open_chunk(
    vector: Vector, *, manifest: str, index: str, data_key: str, plaintext: str = ""
) -> None:
    assert opener(manifest, data_key).open_chunk(int(index), vector.data).hex() == plaintext


def open_weights(vector: Vector, *, manifest: str, data_key: str, plaintext: str = "") -> None:
    size = 64 + sealed.TAG_BYTES
    chunks = [vector.data[at : at + size] for at in range(0, len(vector.data), size)]
    assert b"".join(opener(manifest, data_key).open(chunks)).hex() == plaintext


def opener(manifest: str, data_key: str) -> sealed.Opener:
    signed = read(FOLDER / manifest)
    owner = Ed25519PublicKey.from_public_bytes(bytes.fromhex(signed.header["key"]))
    return sealed.Opener(*verify_manifest(signed.data, owner), bytes.fromhex(data_key))


@pytest.mark.parametrize("path", PATHS, ids=lambda path: f"{path.parent.name}/{path.stem}")
def test_a_vector_gets_its_verdict(path: Path) -> None:
    vector = read(path)
    if vector.header["expect"] == "success":
        verify(vector)
        return
    with pytest.raises(VerificationError) as caught:
        verify(vector)
    assert getattr(caught.value, "code", caught.value.step) == vector.header["expect"]


def test_keys_are_arguments() -> None:
    """Other keys make other files of the same verdicts."""
    other = vectors(b"1" * 32, b"2" * 32, b"3" * 32)
    assert [(v.kind, v.name) for v in other] == [(v.kind, v.name) for v in vectors()]
    assert not {v.data for v in other} & {v.data for v in vectors()}
