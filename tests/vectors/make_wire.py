"""Vectors of the wire: receipts, statements, manifests and sealed weights, one failure each.

    python -m tests.vectors.make_wire

Keys are arguments and nothing is random, so the same files come out each time. A file is a header
of `name: value` lines, an empty line, and the message in base64. `expect` is `success` or the step
(for receipts, the AIR v1 code) that has to fail; `comment` is for people. Receipts, statements and
manifests have the signer's `key`, and what is expected of a receipt beyond that by name. Chunks
have `index`, `data_key` and the `manifest` file they belong to, and `plaintext` if they open;
weights are all chunks of a model, one behind the other, and have the same but for the index.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from hashlib import sha256
from itertools import islice
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.wire import batch, cbor, claims, cose, receipt, sealed
from enclave.wire.manifest import Manifest, sign_manifest
from enclave.wire.receipt import Receipt
from tests.vectors.honest import (
    DATA_KEY,
    MANIFEST,
    OTHER,
    RECEIPT,
    SIGNER,
    STATEMENT,
    WEIGHTS,
)
from tests.vectors.vector import Vector

FOLDER = Path(__file__).parent / "wire"


def vectors(
    signer: bytes = SIGNER, other: bytes = OTHER, data_key: bytes = DATA_KEY
) -> list[Vector]:
    """All of them; private Ed25519 keys and the data key as 32 bytes each."""
    keys = [Ed25519PrivateKey.from_private_bytes(key) for key in (signer, other)]
    manifest = replace(MANIFEST, key_commitment=sealed.commit(data_key))
    yielded = (
        receipts(*keys),
        statements(*keys),
        manifests(manifest, *keys),
        chunks(manifest, data_key),
        weights(manifest, data_key),
    )
    return [vector for kind in yielded for vector in kind]


def _flip(data: bytes, at: int) -> bytes:
    changed = bytearray(data)
    changed[at] ^= 1
    return bytes(changed)


def _signed(values: object, key: Ed25519PrivateKey, protected: bytes) -> bytes:
    return cose.sign_ed25519(cbor.encode(values), key, protected=protected)


def _message(data: bytes, **parts: object) -> bytes:
    """A message with some of its four parts replaced, not signed anew."""
    message = cose.parse(data, tagged=True)
    honest = {"protected": message.protected, "unprotected": {}, "payload": message.payload}
    whole = {**honest, "signature": message.signature, **parts}
    return data[:1] + cbor.encode(list(whole.values()))


def receipts(key: Ed25519PrivateKey, other: Ed25519PrivateKey) -> Iterator[Vector]:
    """AIR v1, layers 1 to 4."""
    good = receipt.issue(RECEIPT, key)
    values: dict[Any, Any] = cbor.decode(claims.encode(RECEIPT))  # type: ignore[assignment]
    public = key.public_key().public_bytes_raw().hex()

    def vector(name: str, expect: str, comment: str, data: bytes, **expected: str) -> Vector:
        header = {"expect": expect, "comment": comment, "key": public, **expected}
        return Vector("receipt", name, header, data)

    def claimed(**changes: Any) -> bytes:
        return receipt_of(replace(RECEIPT, **changes))

    def receipt_of(changed: Receipt) -> bytes:
        return cose.sign_ed25519(claims.encode(changed), key, protected=receipt.PROTECTED)

    def mapped(changes: dict[int, Any]) -> bytes:
        return _signed(values | changes, key, receipt.PROTECTED)

    es256 = cbor.encode({cose.ALGORITHM: -7, cose.CONTENT_TYPE: receipt.CWT})
    typeless = cbor.encode({cose.ALGORITHM: cose.EDDSA})
    short = replace(RECEIPT.measurements, pcr0=bytes(47))
    yield vector("valid", "success", "as an enclave issues it", good)
    yield vector(
        "valid-without-nonce", "success", "an absent claim is left out", claimed(nonce=None)
    )
    yield vector("trailing-byte", "COSE_DECODE_FAILED", "one byte behind the end", good + b"\0")
    yield vector("without-tag", "COSE_DECODE_FAILED", "tag 18 is missing", good[1:])
    yield vector("cut", "COSE_DECODE_FAILED", "the last byte is missing", good[:-1])
    yield vector(
        "unprotected-header",
        "NON_EMPTY_UNPROTECTED",
        "a key id that no signature covers",
        _message(good, unprotected={4: b"key"}),
    )
    yield vector("other-algorithm", "BAD_ALG", "the header says ES256", _signed(values, key, es256))
    yield vector(
        "no-content-type",
        "BAD_CONTENT_TYPE",
        "the header does not say that this is a CWT",
        _signed(values, key, typeless),
    )
    yield vector("detached", "MISSING_PAYLOAD", "the payload is null", _message(good, payload=None))
    yield vector(
        "unknown-claim", "PAYLOAD_NOT_MAP", "a claim that AIR v1 does not have", mapped({-70000: 1})
    )
    yield vector(
        "other-profile", "WRONG_PROFILE", "version 2", mapped({265: claims.PROFILE[:-1] + "2"})
    )
    yield vector(
        "boolean-sequence", "PAYLOAD_NOT_MAP", "true is not the number 1", mapped({-65545: True})
    )
    yield vector("flipped-signature", "SIG_FAILED", "one bit of the signature", _flip(good, -1))
    yield vector(
        "short-signature",
        "BAD_SIG_LENGTH",
        "63 bytes",
        _message(good, signature=cose.parse(good, tagged=True).signature[:-1]),
    )
    yield vector(
        "other-signer", "SIG_FAILED", "signed by another key", receipt.issue(RECEIPT, other)
    )
    yield vector("zero-model-hash", "ZERO_MODEL_HASH", "no model", claimed(model_hash=bytes(32)))
    yield vector(
        "zero-id", "BAD_CTI_LENGTH", "an id that is not random", claimed(receipt_id=bytes(16))
    )
    yield vector(
        "short-register", "BAD_MEASUREMENT_LENGTH", "pcr0 of 47 bytes", claimed(measurements=short)
    )
    yield vector(
        "unknown-mode", "UNKNOWN_SECURITY_MODE", "a mode of no list", claimed(security_mode="debug")
    )
    late = str(RECEIPT.issued_at + 61)
    yield vector("stale", "TIMESTAMP_STALE", "a second too old", good, now=late, max_age_s="60")
    early = str(RECEIPT.issued_at - 61)
    yield vector("future", "TIMESTAMP_FUTURE", "a second beyond the skew", good, now=early)
    yield vector(
        "other-request", "REQUEST_HASH_MISMATCH", "of another request", good, request_hash="00" * 32
    )
    yield vector("other-nonce", "NONCE_MISMATCH", "of another session", good, nonce="00" * 32)
    yield vector("other-place", "SEQUENCE_MISMATCH", "number 7 where 8 is due", good, sequence="8")
    yield vector(
        "evaluation-mode",
        "SECURITY_MODE_MISMATCH",
        "not asked for by name",
        claimed(security_mode="evaluation"),
    )


def statements(key: Ed25519PrivateKey, other: Ed25519PrivateKey) -> Iterator[Vector]:
    """Statements over many receipts."""
    good = batch.issue(STATEMENT, key)
    message = cose.parse(good, tagged=True)
    values: dict[Any, Any] = cbor.decode(message.payload)  # type: ignore[assignment]
    header = {"key": key.public_key().public_bytes_raw().hex()}
    cases = {
        "valid": ("success", "as an enclave issues it", good),
        "trailing-byte": ("statement envelope", "one byte behind the end", good + b"\0"),
        "without-tag": ("statement envelope", "tag 18 is missing", good[1:]),
        "signed-as-receipt": (
            "statement header",
            "the header of a receipt over the payload of a statement",
            _signed(values, key, receipt.PROTECTED),
        ),
        "flipped-signature": ("statement signature", "one bit of the signature", _flip(good, -1)),
        "other-signer": (
            "statement signature",
            "signed by another key",
            batch.issue(STATEMENT, other),
        ),
        "short-previous": (
            "statement fields",
            "31 bytes name the statement before",
            _signed(values | {3: bytes(31)}, key, message.protected),
        ),
        "a-field-more": (
            "statement fields",
            "key 7",
            _signed(values | {7: 0}, key, message.protected),
        ),
    }
    for name, (expect, comment, data) in cases.items():
        yield Vector("statement", name, {"expect": expect, "comment": comment, **header}, data)


def manifests(
    manifest: Manifest, key: Ed25519PrivateKey, other: Ed25519PrivateKey
) -> Iterator[Vector]:
    """Manifests of sealed models."""
    good = sign_manifest(manifest, key)
    message = cose.parse(good, tagged=True)
    values: dict[Any, Any] = cbor.decode(message.payload)  # type: ignore[assignment]
    header = {"key": key.public_key().public_bytes_raw().hex()}

    def signed(**changes: object) -> bytes:
        return _signed(values | changes, key, message.protected)

    cases = {
        "valid": ("success", "as an owner signs it", good),
        "trailing-byte": ("manifest envelope", "one byte behind the end", good + b"\0"),
        "signed-as-receipt": (
            "manifest header",
            "the header of a receipt over the payload of a manifest",
            _signed(values, key, receipt.PROTECTED),
        ),
        "flipped-field": (
            "manifest signature",
            "one bit of a name",
            good.replace(b"tiny", b"tinx"),
        ),
        "other-owner": (
            "manifest signature",
            "signed by another key",
            sign_manifest(manifest, other),
        ),
        "without-hash": (
            "success",
            "nobody promises a hash of the opened weights",
            sign_manifest(replace(manifest, weights_blake3=None), key),
        ),
        "null-hash": ("manifest fields", "absent is not null", signed(weights_blake3=None)),
        "no-weights": ("manifest fields", "0 bytes", signed(weights_bytes=0)),
        "huge-chunks": (
            "manifest fields",
            "a chunk that memory cannot hold",
            signed(chunk_bytes=1 << 40),
        ),
        "short-prefix": (
            "manifest fields",
            "a nonce prefix of 6 bytes",
            signed(nonce_prefix=bytes(6)),
        ),
        "a-field-more": ("manifest fields", "one of no list", signed(extra=1)),
        "boolean-size": ("manifest fields", "true is not the number 1", signed(weights_bytes=True)),
    }
    for name, (expect, comment, data) in cases.items():
        yield Vector("manifest", name, {"expect": expect, "comment": comment, **header}, data)


def chunks(manifest: Manifest, data_key: bytes) -> Iterator[Vector]:
    """Sealed chunks of the valid manifest's model."""
    digest = sha256(manifest.encode()).digest()
    plain = _pieces(WEIGHTS)
    good = list(sealed.seal(manifest, digest, data_key, plain))
    newer = replace(manifest, version="2")
    foreign = list(sealed.seal(newer, sha256(newer.encode()).digest(), data_key, plain))

    def vector(
        name: str, expect: str, comment: str, index: int, data: bytes, **more: str
    ) -> Vector:
        header = {"expect": expect, "comment": comment, "manifest": "manifest/valid.txt"}
        header |= {"index": str(index), "data_key": data_key.hex()} | more
        return Vector("chunk", name, header, data)

    moved = "chunk authentication"
    yield vector("first", "success", "the first of three", 0, good[0], plaintext=plain[0].hex())
    yield vector("last", "success", "shorter, and final", 2, good[2], plaintext=plain[2].hex())
    yield vector("moved", moved, "the second in the first's place", 0, good[1])
    yield vector("other-version", moved, "the same place in version 2", 0, foreign[0])
    yield vector("flipped-ciphertext", moved, "one bit of the ciphertext", 0, _flip(good[0], 0))
    yield vector("flipped-tag", moved, "one bit of the tag", 0, _flip(good[0], -1))
    yield vector("cut", "chunk length", "the last byte is missing", 2, good[2][:-1])
    yield vector("beyond-the-end", "chunk index", "a fourth of three", 3, good[2])
    other = bytes(32).hex()
    yield vector(
        "other-key",
        "data key",
        "a key that the manifest does not commit to",
        0,
        good[0],
        data_key=other,
    )


def weights(manifest: Manifest, data_key: bytes) -> Iterator[Vector]:
    """All sealed chunks of the valid manifest's model."""
    digest = sha256(manifest.encode()).digest()

    def vector(name: str, expect: str, comment: str, plain: bytes, count: int = 3) -> Vector:
        header = {"expect": expect, "comment": comment, "manifest": "manifest/valid.txt"}
        header |= {"data_key": data_key.hex()}
        if expect == "success":
            header |= {"plaintext": plain.hex()}
        chunks = islice(sealed.seal(manifest, digest, data_key, _pieces(plain)), count)
        return Vector("weights", name, header, b"".join(chunks))

    yield vector("valid", "success", "as the owner sealed them", WEIGHTS)
    yield vector(
        "other-weights",
        "weights digest",
        "sealed by someone who has the data key too",
        bytes(len(WEIGHTS)),
    )
    yield vector("a-chunk-less", "chunk count", "two of three chunks", WEIGHTS, 2)


def _pieces(plain: bytes) -> list[bytes]:
    return [plain[at : at + 64] for at in range(0, len(plain), 64)]


def main() -> None:
    """Write every file, and no others stay."""
    for path in FOLDER.rglob("*.txt"):
        path.unlink()
    for vector in vectors():
        path = FOLDER / vector.kind / f"{vector.name}.txt"
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(vector.encode())


if __name__ == "__main__":
    main()
