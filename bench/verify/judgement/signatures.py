"""Verdicts on what an Ed25519 key signed: receipts and statements of an enclave, manifests."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.verify import Attested, document
from bench.verify.judgement import Trust, time_notes
from bench.verify.judgement.recognition import Kind
from bench.verify.report import Failure, Outcome, Verdict, refused, unasked, walked
from bench.verify.steps import MANIFEST, RECEIPT, STATEMENT
from enclave.wire import batch, claims, cose, receipt
from enclave.wire.errors import RemoteProtocolError, VerificationError
from enclave.wire.manifest import Manifest, verify_manifest
from enclave.wire.messages import Claims

RECEIPT_MAX_AGE_S = 300  # where a time is given
BY_KEY = "by the key given: nothing shows that an attested enclave holds it"
_KEY_NEEDED = Failure(
    "receipt key",
    "no verified attestation document that names one among the files",
    "the one whose enclave signed this",
    "give the document's file too, or --key with the key in hex",
)


def judge_receipt(
    file: str, data: bytes, trust: Trust, attested: Mapping[bytes, Attested]
) -> Verdict:
    """A receipt under the key of the document it names; `attested` has documents by SHA-256."""
    named = _named_document(data)
    digest = named if named in attested else next(iter(attested), None)
    expected = receipt.Expected(security_mode=trust.security_mode)
    key = trust.receipt_key
    notes: tuple[str, ...] = (BY_KEY,)
    if digest is not None:
        key, expected = _bound(digest, attested[digest], trust)
        notes = ()
    if key is None:
        return Verdict(file, Kind.RECEIPT.value, Outcome.INCOMPLETE, unasked(RECEIPT), _KEY_NEEDED)
    if trust.at is not None:
        now = int(trust.at.timestamp())
        expected = replace(expected, now=now, max_age_s=RECEIPT_MAX_AGE_S)
    try:
        found = receipt.verify(data, key, expected=expected)
    except VerificationError as error:
        return refused(file, Kind.RECEIPT.value, RECEIPT, error, notes=notes)
    issued_at = min(found.issued_at, document.MAX_TIMESTAMP_MS // 1000)  # what a calendar can hold
    notes = time_notes(trust, trust.at or datetime.fromtimestamp(issued_at, UTC)) + notes
    facts: dict[str, str | int | bool] = {
        "model": found.model_id,
        "sequence": found.sequence,
        "security mode": found.security_mode,
    }
    return Verdict(
        file, Kind.RECEIPT.value, Outcome.VERIFIED, walked(RECEIPT, None), None, notes, facts
    )


def judge_statement(
    file: str, data: bytes, trust: Trust, attested: Mapping[bytes, Attested]
) -> Verdict:
    """A session's statement by itself, under the key of one of the documents, or the given one.

    It names no document, so it is tried with each; the verdict is that of the last one tried.
    """
    keys = [_bound(digest, of, trust)[0] for digest, of in attested.items()]
    known = [key for key in (*keys, trust.receipt_key) if key is not None]
    kind = Kind.STATEMENT.value
    if not known:
        return Verdict(file, kind, Outcome.INCOMPLETE, unasked(STATEMENT), _KEY_NEEDED)
    for key in known:
        try:
            found = batch.verify(data, key)
        except VerificationError as error:
            failed = refused(file, kind, STATEMENT, error)
            continue
        notes: tuple[str, ...] = (
            "by itself: what came before it, and the receipts it counts, are not looked at",
        )
        if key not in keys:
            notes += (BY_KEY,)
        facts: dict[str, str | int | bool] = {
            "session": found.session.hex(),
            "index": found.index,
            "receipts": found.receipts,
            "receipts head": found.receipts_head.hex(),
        }
        return Verdict(file, kind, Outcome.VERIFIED, walked(STATEMENT, None), None, notes, facts)
    return failed


def judge_manifest(file: str, data: bytes, trust: Trust) -> tuple[Verdict, bytes | None]:
    """A model owner's manifest, and its digest where it holds."""
    if trust.owner is None:
        need = Failure(
            "owner",
            "no key to verify with",
            "the model owner's",
            "--authority takes a public.json that names the owner",
        )
        return Verdict(file, Kind.MANIFEST.value, Outcome.INCOMPLETE, unasked(MANIFEST), need), None
    try:
        manifest, digest = verify_manifest(data, trust.owner)
    except VerificationError as error:
        return refused(file, Kind.MANIFEST.value, MANIFEST, error), None
    facts = _manifest_facts(manifest, digest)
    steps = walked(MANIFEST, None)
    return Verdict(file, Kind.MANIFEST.value, Outcome.VERIFIED, steps, None, (), facts), digest


def _bound(
    digest: bytes, attested: Attested, trust: Trust
) -> tuple[Ed25519PublicKey | None, receipt.Expected]:
    """The key that a document attests (None: it names none), and what its receipts have to say."""
    pcrs = attested.document.pcrs
    expected = receipt.Expected(
        attestation_hash=digest,
        security_mode=trust.security_mode,
        nonce=attested.document.nonce,
        measurements=receipt.Measurements(pcrs[0], pcrs[1], pcrs[2]),
    )
    try:
        named = Claims.decode(attested.document.user_data or b"")
    except RemoteProtocolError:
        return None, expected
    return Ed25519PublicKey.from_public_bytes(named.receipt_key), expected


def _named_document(data: bytes) -> bytes | None:
    """The document that a receipt names; nothing of it is verified yet."""
    try:
        return claims.decode(cose.parse(data, tagged=True).payload).attestation_hash
    except RemoteProtocolError:
        return None


def _manifest_facts(manifest: Manifest, digest: bytes) -> dict[str, str | int | bool]:
    return {
        "model": manifest.model,
        "version": manifest.version,
        "source": manifest.source,
        "weights sha256": manifest.weights_sha256.hex(),
        "manifest sha256": digest.hex(),
    }
