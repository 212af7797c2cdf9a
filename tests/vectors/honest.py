"""What the vectors start from: honest messages and keys, fixed for good."""

from __future__ import annotations

from hashlib import sha256

from blake3 import blake3
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from enclave.wire import cbor, sealed
from enclave.wire.batch import Statement
from enclave.wire.manifest import Manifest
from enclave.wire.receipt import Measurements, Receipt

SIGNER = bytes(range(32))
OTHER = bytes(range(32, 64))
DATA_KEY = bytes(range(64, 96))
WEIGHTS = bytes(i % 251 for i in range(150))  # two chunks of 64 bytes and one of 22

KEY = Ed25519PrivateKey.from_private_bytes(SIGNER)
RECEIPT = Receipt(
    issuer="vectors",
    issued_at=1_750_000_000,
    receipt_id=bytes(range(1, 17)),
    nonce=b"n" * 32,
    model_id="tiny",
    model_version="1",
    model_hash=b"m" * 32,
    request_hash=b"q" * 32,
    response_hash=b"r" * 32,
    attestation_hash=b"a" * 32,
    measurements=Measurements(b"\x01" * 48, b"\x02" * 48, b"\x03" * 48),
    policy_version="policy",
    sequence=7,
    execution_time_ms=12,
    memory_peak_mb=300,
    security_mode="production",
    model_hash_scheme="sha256-single",
)
STATEMENT = Statement(b"s" * 16, 3, b"p" * 32, 9, b"h" * 32, cbor.encode({"boot_ns": 5}))
MANIFEST = Manifest(
    model="tiny",
    version="1",
    architecture="bert",
    source="vectors",
    weights_sha256=sha256(WEIGHTS).digest(),
    weights_bytes=len(WEIGHTS),
    chunk_bytes=64,
    tokenizer_sha256=b"t" * 32,
    tokenizer_bytes=1000,
    config={"layers": 2, "epsilon": 1e-12},
    wrapped_key=b"wrapped key",
    key_arn="arn:aws:kms:local-1:000000000000:key/00000000-0000-4000-8000-000000000000",
    encryption_context={"model": "tiny", "version": "1"},
    nonce_prefix=b"prefix7",
    key_commitment=sealed.commit(DATA_KEY),
    weights_blake3=blake3(WEIGHTS).digest(),
)
