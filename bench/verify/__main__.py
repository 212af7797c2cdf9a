"""`python -m bench.verify FILE...`: what each file is worth, step by step, offline.

Files are recognised by content: a Nitro attestation document, a Confidential Space token, an AIR v1
receipt, a session's statement, a signed manifest, the evidence of a records file (its .jsonl beside
it), a compliance bundle, measurements.json (image.eif beside it), a KMS key policy. Files of one
call support each other: receipts and statements are judged by the documents among them, evidence by
the manifests.

This module alone of bench.verify reaches bench.analysis and bench.image: it is the door to all
verifiers, not a verifier, and nothing imports it.

With --json one object is printed, of schema 1:

    schema  1
    exit    the exit code
    files   one object each, in the order given:
      file, kind   text; kind "unknown" where the file is none of the above
      outcome      verified, not authentic, not acceptable, not judged, unreadable
      steps        {verifier, number, result, text}; result: ok, failed, not reached, not asked;
                   for the rows of a bundle: proven, failed, not proven
      failure      {step, found, expected, hint}, or null
      notes        texts that limit what the outcome means
      facts        what the file says, by name
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Mapping, Sequence
from hashlib import sha256
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey
from cryptography.hazmat.primitives.serialization import Encoding

from bench.analysis import evidence
from bench.image import ImageError
from bench.image import measurements as image
from bench.records import RecordError
from bench.verify import Attested, Policy, jwks
from bench.verify.arguments import parser
from bench.verify.judgement import (
    TokenTrust,
    Trust,
    bundles,
    documents,
    policies,
    signatures,
    tokens,
)
from bench.verify.judgement.recognition import Kind, recognise
from bench.verify.report import (
    Failure,
    Outcome,
    Verdict,
    as_json,
    as_text,
    complaint,
    exit_code,
    refused,
    unasked,
    walked,
)
from bench.verify.steps import EVIDENCE, MEASUREMENTS
from enclave.wire.errors import RemoteProtocolError, VerificationError

MAX_BYTES = 1 << 30
UNREAD = (
    *(RemoteProtocolError, ArithmeticError, AttributeError, LookupError, TypeError),
    ValueError,
)
IMAGE = "image.eif"
ENDING, RECORDS = ".evidence.cbor", ".jsonl"
ALONE = {Kind.TOKEN: tokens.judge, Kind.BUNDLE: bundles.judge, Kind.POLICY: policies.judge}


def main(arguments: Sequence[str] | None = None) -> int:
    """Judge the files and print what was found; the exit code."""
    options = parser()
    given = options.parse_args(arguments)
    try:
        trust = _trust(given)
    except (OSError, ValueError, KeyError, TypeError, ImageError, VerificationError) as error:
        options.error(f"what is to be trusted cannot be read: {error}")
    verdicts = judge(given.files, trust)
    if given.json:
        print(as_json(verdicts))
        return exit_code(verdicts)
    for verdict in verdicts:
        print(*as_text(verdict), sep="\n", flush=True)
        print(*complaint(verdict), sep="\n", end="\n" if verdict.failure else "", file=sys.stderr)
    return exit_code(verdicts)


def judge(files: Sequence[Path], trust: Trust) -> list[Verdict]:
    """One verdict a file, in their order; first what others need, then the others."""
    verdicts: dict[Path, Verdict] = {}
    read: dict[Path, tuple[Kind, bytes]] = {}
    for path in files:
        found = _read(path)
        if isinstance(found, Verdict):
            verdicts[path] = found
        else:
            read[path] = found
    attested: dict[bytes, Attested] = {}
    models: set[str] = set()
    for path, (kind, data) in read.items():
        if kind is Kind.DOCUMENT:
            verdicts[path], accepted = documents.judge(str(path), data, trust)
            attested |= {sha256(data).digest(): accepted} if accepted else {}
        elif kind is Kind.MANIFEST:
            verdicts[path], digest = signatures.judge_manifest(str(path), data, trust)
            models |= {digest.hex()} if digest else set()
    for path, (kind, data) in read.items():
        if kind is Kind.RECEIPT:
            verdicts[path] = signatures.judge_receipt(str(path), data, trust, attested)
        elif kind is Kind.STATEMENT:
            verdicts[path] = signatures.judge_statement(str(path), data, trust, attested)
        elif kind is Kind.MEASUREMENTS:
            verdicts[path] = _judge_measurements(path, data)
        elif kind is Kind.EVIDENCE:
            verdicts[path] = _judge_evidence(path, trust, models)
        elif kind in ALONE:
            verdicts[path] = ALONE[kind](str(path), data, trust)
    return [verdicts[path] for path in files]


def _read(path: Path) -> tuple[Kind, bytes] | Verdict:
    """A file and its kind, or why there is nothing to judge."""
    hint = ""
    try:
        if not path.is_file():
            found = "no such file"
        elif path.stat().st_size > MAX_BYTES:
            found = f"more than {MAX_BYTES} bytes"
        else:
            data = path.read_bytes()
            kind = recognise(data)
            if kind is not None:
                return kind, data
            found = f"{len(data)} bytes of no known kind"
            if path.name.endswith(RECORDS):
                hint = f"records are judged by the {ENDING} file beside them"
    except OSError as error:
        found = error.strerror or "an error"
    failure = Failure("file", found, ", ".join(kind.value for kind in Kind), hint)
    return Verdict(str(path), "unknown", Outcome.UNREADABLE, (), failure)


def _judge_measurements(path: Path, data: bytes) -> Verdict:
    """measurements.json is signed by nobody: it is right if the image beside it measures so."""
    file, kind, beside = str(path), Kind.MEASUREMENTS.value, path.with_name(IMAGE)
    try:
        built = image.decode(data, file=file)
    except ImageError as error:
        return refused(file, kind, MEASUREMENTS, _step("measurements", error))
    passed = walked(MEASUREMENTS, None, unasked={2})
    if not beside.is_file():
        hint = "put it there, or build it again from enclave/: the same files give the same image"
        need = Failure("image", f"no {IMAGE} beside it", "the image that it measures", hint)
        return Verdict(file, kind, Outcome.INCOMPLETE, passed, need)
    try:
        image.check(beside.read_bytes(), built, file=str(beside))
    except ImageError as error:
        return refused(file, kind, MEASUREMENTS, _step("image", error))
    facts = {"platform": built.platform, "enclave digest": built.enclave_digest}
    facts |= {f"pcr {index}": value.hex() for index, value in sorted(built.pcrs.items())}
    return Verdict(file, kind, Outcome.VERIFIED, walked(MEASUREMENTS, None), None, (), dict(facts))


def _judge_evidence(path: Path, trust: Trust, models: set[str]) -> Verdict:
    """Evidence and the records beside it, walked by bench.analysis.evidence."""
    file, kind = str(path), Kind.EVIDENCE.value
    records = path.with_name(path.name.removesuffix(ENDING) + RECORDS)
    need = _missing(path, records, trust, models)
    if need is not None:
        return Verdict(file, kind, Outcome.INCOMPLETE, unasked(EVIDENCE), need)
    assert trust.root is not None and trust.pcrs is not None  # by _missing
    policy = Policy(sha256(trust.root).digest(), trust.root, trust.pcrs, emulated=trust.emulated)
    try:
        checked = evidence.check(records, path, policy, models)
    except VerificationError as error:
        return refused(file, kind, EVIDENCE, error)
    except RecordError as error:
        expected = "what a run wrote"
        wrong = VerificationError("records", found=str(error).partition("\n")[0], expected=expected)
        return refused(file, kind, EVIDENCE, wrong)
    except UNREAD as error:
        # Until its lines are compared with what was signed, a records file may hold anything.
        failure = Failure("records", str(error) or type(error).__name__, "what a run wrote")
        return Verdict(file, kind, Outcome.NOT_AUTHENTIC, unasked(EVIDENCE), failure)
    notes: tuple[str, ...] = ("judged as archived, each document at its own time",)
    if trust.emulated:
        notes += ("its root vouches for emulators only: emulated, no hardware isolation",)
    counts = {name: getattr(checked, name) for name in ("boots", "sessions", "receipts")}
    facts = {"records": checked.record, **counts, "statements": checked.statements}
    return Verdict(file, kind, Outcome.VERIFIED, walked(EVIDENCE, None), None, notes, facts)


def _missing(path: Path, records: Path, trust: Trust, models: set[str]) -> Failure | None:
    """What a verdict on evidence needs and was not given."""
    if not path.name.endswith(ENDING) or not records.is_file():
        expected = f"NAME{RECORDS} beside NAME{ENDING}"
        return Failure("records", "no records beside it", expected)
    if trust.root is None or trust.pcrs is None:
        hint = "--authority and --measurements take public.json and measurements.json of its run"
        return Failure("trust", "no root or no measurements", "both", hint)
    if not models:
        hint = "give the manifest.cose of the measured model too"
        return Failure("manifest", "no verified manifest among the files", "the model's", hint)
    if trust.at is not None or trust.nonce is not None:
        hint = "leave out --at and --nonce: every session holds its own challenge and time"
        return Failure("time", "a time or a nonce for archived sessions", "neither", hint)
    return None


def _step(step: str, error: ImageError) -> VerificationError:
    found = f"{error.found} in {error.field}"
    return VerificationError(step, found=found, expected=error.expected, hint=error.hint)


def _trust(given: argparse.Namespace) -> Trust:
    parties = _parties(given.authority) if given.authority else {}
    owner = parties.get("owner")
    return Trust(
        root=parties.get("root"),
        pcrs=image.read(given.measurements).pcrs if given.measurements else None,
        owner=Ed25519PublicKey.from_public_bytes(owner) if owner else None,
        receipt_key=Ed25519PublicKey.from_public_bytes(given.key) if given.key else None,
        at=given.at,
        nonce=given.nonce,
        sealers=tuple(given.sealer),
        tokens=_tokens(given),
    )


def _tokens(given: argparse.Namespace) -> TokenTrust:
    key_set = given.jwks.read_bytes() if given.jwks else None
    if key_set is not None:
        jwks.keys(key_set)  # a set that cannot be read is the caller's mistake, not the token's
    root = given.root.read_bytes() if given.root else None
    if root is not None and root.lstrip().startswith(b"-----BEGIN"):
        root = x509.load_pem_x509_certificate(root).public_bytes(Encoding.DER)
    return TokenTrust(
        root=root,
        key_set=key_set,
        audience=given.audience,
        image_digest=given.image_digest,
        hardware=frozenset(given.hardware),
        service_accounts=frozenset(given.service_account),
        support_attributes=frozenset(given.support_attribute or ("STABLE",)),
        env_override=dict(given.allow_env),
        cmd_override=frozenset(given.allow_command),
        gpu_models=frozenset(given.gpu_model),
    )


def _parties(path: Path) -> Mapping[str, bytes]:
    """Root and owner out of a public.json, whose root has to have the digest it states."""
    fields = json.loads(path.read_text())
    parties = {name: bytes.fromhex(fields[name]) for name in ("root", "root_sha256", "owner")}
    if sha256(parties["root"]).digest() != parties["root_sha256"]:
        raise ValueError(f"{path}: the root's digest is not the one stated beside it")
    return parties


if __name__ == "__main__":
    sys.exit(main())
