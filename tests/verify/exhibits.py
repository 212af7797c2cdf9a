"""One of every kind of file that `python -m bench.verify` judges, all of one short session."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding

from bench import records
from bench.analysis import compliance
from bench.emulators import estate
from bench.image import build, measurements
from bench.platforms import owner
from bench.verify import nitro
from bench.verify.sessions import Evidence
from enclave.wire import batch, cbor, receipt
from enclave.wire.manifest import Manifest, sign_manifest, verify_manifest
from enclave.wire.messages import Claims
from tests.verify import forge, mint

ROOT = Path(__file__).parents[2]
OWNER = Ed25519PrivateKey.from_private_bytes(b"\x01" * 32)
ENCLAVE = Ed25519PrivateKey.from_private_bytes(b"\x02" * 32)
WEIGHTS, SETTINGS, SESSION = b"\x0a" * 32, b"\x0b" * 32, b"\x0c" * 32
INFERENCES_NS = (2_000_000, 1_000_000, 1_500_000)  # the first is warm-up and in no record
STAGES_NS = (("import", 10_000_000), ("attest", 3_000_000), ("key_release", 20_000_000))
BEGINS_NS = (0, 1_000_000, 4_000_000)


def make(folder: Path) -> None:
    """Write all of them, and public.json, which names whom to trust."""
    build.build_image(
        ROOT / "enclave",
        cmdline="platform=local owner=none",
        kernel=b"no kernel\n",
        default_memory_mib=64,
        default_cpus=1,
        image=folder / "image.eif",
        measurements=folder / "measurements.json",
    )
    pcrs = measurements.read(folder / "measurements.json").pcrs
    root = forge.root().der
    public = {"root": root.hex(), "root_sha256": sha256(root).hexdigest(), "key_arn": "arn"}
    public["owner"] = OWNER.public_key().public_bytes_raw().hex()
    (folder / "public.json").write_text(json.dumps(public))
    signed = signed_manifest()
    (folder / "manifest.cose").write_bytes(signed)
    _, digest = verify_manifest(signed, OWNER.public_key())
    claims = Claims(ENCLAVE.public_key().public_bytes_raw(), SETTINGS, digest)
    of_image = {**forge.fields()["pcrs"], **pcrs}  # type: ignore[dict-item]
    document = forge.document(pcrs=of_image, user_data=claims.encode())
    nitro.authenticate(document, root=root, now=forge.NOW)  # honest, or every test is in vain
    (folder / "document.cbor").write_bytes(document)
    receipts = [_receipt(document, pcrs, sequence) for sequence in range(2)]
    (folder / "receipt.cose").write_bytes(receipts[0])
    _write_records(folder, document, receipts, pcrs, digest)
    _write_bundle(folder, pcrs)
    _write_tokens(folder)


def signed_manifest(owner: Ed25519PrivateKey = OWNER, **changes: str) -> bytes:
    """Honest, but for some fields."""
    manifest = Manifest(
        model="tiny",
        version="1",
        architecture="bert",
        source="seeded",
        weights_sha256=WEIGHTS,
        weights_bytes=100,
        chunk_bytes=64,
        tokenizer_sha256=b"\x0d" * 32,
        tokenizer_bytes=10,
        config={},
        wrapped_key=b"wrapped",
        key_arn="arn",
        encryption_context={},
        nonce_prefix=bytes(7),
        key_commitment=b"\x0e" * 32,
    )
    return sign_manifest(replace(manifest, **changes), owner)  # type: ignore[arg-type]


def _receipt(document: bytes, pcrs: Mapping[int, bytes], sequence: int) -> bytes:
    said = receipt.Receipt(
        issuer="confbench",
        issued_at=int(forge.NOW.timestamp()),
        receipt_id=bytes([sequence + 1]) * 16,
        nonce=forge.NONCE,
        model_id="tiny",
        model_version="1",
        model_hash=WEIGHTS,
        request_hash=b"\x03" * 32,
        response_hash=b"\x04" * 32,
        attestation_hash=sha256(document).digest(),
        measurements=receipt.Measurements(pcrs[0], pcrs[1], pcrs[2]),
        policy_version=SETTINGS.hex(),
        sequence=sequence,
        execution_time_ms=1,
        memory_peak_mb=1,
        security_mode="evaluation",
        model_hash_scheme="sha256-single",
    )
    return receipt.issue(said, ENCLAVE)


def _write_records(
    folder: Path,
    document: bytes,
    receipts: list[bytes],
    pcrs: Mapping[int, bytes],
    manifest_digest: bytes,
) -> None:
    plan: dict[str, object] = {
        "boots": 1,
        "pcrs": {str(index): value.hex() for index, value in sorted(pcrs.items())},
        "manifest_digest": manifest_digest.hex(),
        "settings_digest": SETTINGS.hex(),
        "weights_sha256": WEIGHTS.hex(),
        "model": "tiny",
        "security_mode": "evaluation",
    }
    identity = records.identity(plan)
    observed = [
        records.Observation("inference_latency", "enclave", 0, 0, i, ns / 1e6)
        for i, ns in enumerate(INFERENCES_NS[1:])
    ]
    stages = [("launch", 5_000_000), *STAGES_NS]
    observed += [
        records.Observation("cold_start_stage", "enclave", 0, 0, 0, ns / 1e6, at=(("stage", name),))
        for name, ns in stages
    ]
    lines = [records.encode(record) for record in observed]
    records.write(folder / "tier1.jsonl", {**plan, "identity": identity}, lines)
    body = {
        "records": records.digest(identity, lines),
        "requests_ns": {"inferred": list(INFERENCES_NS)},
        "boot_ns": [
            [name, ns, begin] for begin, (name, ns) in zip(BEGINS_NS, STAGES_NS, strict=True)
        ],
    }
    head = batch.START
    for signed in receipts:
        head = batch.chain(head, signed)
    statement = batch.Statement(SESSION, 0, batch.START, len(receipts), head, cbor.encode(body))
    signed = batch.issue(statement, ENCLAVE)
    (folder / "statement.cose").write_bytes(signed)
    session = Evidence(document, forge.NONCE, SESSION, receipts, [signed])
    (folder / "tier1.evidence.cbor").write_bytes(
        cbor.encode({"schema": 1, "boots": [[session.encode()]]})
    )


def _write_bundle(folder: Path, pcrs: Mapping[int, bytes]) -> None:
    compliance.collect(
        [folder / "tier1.jsonl"],
        [folder / "tier1.evidence.cbor"],
        make=partial(
            owner.bundle,
            estate.Public.read(folder),
            pcrs,
            (folder / "manifest.cose").read_bytes(),
        ),
        out=folder / "bundle.cbor",
    )


def _write_tokens(folder: Path) -> None:
    """One of each flavour, with a newline behind it as files have, and what vouches for them."""
    (folder / "pki.jwt").write_bytes(mint.token(mint.PKI) + b"\n")
    (folder / "oidc.jwt").write_bytes(mint.token(mint.OIDC) + b"\n")
    (folder / "jwks.json").write_bytes(mint.attestor().key_set)
    root = x509.load_der_x509_certificate(mint.attestor().root)
    (folder / "root.pem").write_bytes(root.public_bytes(Encoding.PEM))
    (folder / "root.der").write_bytes(mint.attestor().root)


def tamper(path: Path, part: bytes) -> None:
    """Change one bit of a file, in the first byte of where `part` stands."""
    data = bytearray(path.read_bytes())
    data[data.index(part)] ^= 1
    path.write_bytes(data)
