"""A small model and its manifest, for the tests of sealing."""

from __future__ import annotations

from hashlib import sha256

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.wire import sealed
from enclave.wire.manifest import Manifest, sign_manifest, verify_manifest

OWNER = Ed25519PrivateKey.from_private_bytes(bytes(range(32)))
KEY = bytes(range(100, 132))
CHUNK = 64
WEIGHTS = bytes(i % 251 for i in range(4 * CHUNK + 10))
MANIFEST = Manifest(
    model="minilm",
    version="1",
    architecture="bert",
    source="package",
    weights_sha256=sha256(WEIGHTS).digest(),
    weights_bytes=len(WEIGHTS),
    chunk_bytes=CHUNK,
    tokenizer_sha256=b"t" * 32,
    tokenizer_bytes=1000,
    config={"layers": 6, "epsilon": 1e-12, "activation": "gelu"},
    wrapped_key=b"wrapped" * 20,
    key_arn="arn:aws:kms:eu-central-1:000000000000:key/one",
    encryption_context={"model": "minilm", "version": "1"},
    nonce_prefix=b"prefix7",
    key_commitment=sealed.commit(KEY),
    weights_blake3=blake3(WEIGHTS).digest(),
)
SIGNED = sign_manifest(MANIFEST, OWNER)
_, DIGEST = verify_manifest(SIGNED, OWNER.public_key())


def pieces(weights: bytes = WEIGHTS, size: int = CHUNK) -> list[bytes]:
    return [weights[at : at + size] for at in range(0, len(weights), size)]
