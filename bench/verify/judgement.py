"""Files by their content: what each is, and the verdict of its verifier.

Nothing here reads a file or a clock. What needs more than bytes (records, images) is judged in
`__main__`, which may reach the code that walks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.verify import AWS_ROOT_SHA256, Attested, Policy, document, key_policy, nitro
from bench.verify.key_policy import Severity
from bench.verify.report import Failure, Outcome, Verdict, refused, unasked, walked
from bench.verify.steps import ACCEPTABLE, AUTHENTIC, KEY_POLICY, MANIFEST, RECEIPT
from enclave.wire import claims, cose, receipt
from enclave.wire.errors import RemoteProtocolError, VerificationError
from enclave.wire.messages import Claims
from enclave.wire.sealed import Manifest, verify_manifest

DOCUMENT, AIR_RECEIPT, SIGNED_MANIFEST = "attestation document", "air v1 receipt", "signed manifest"
EVIDENCE, MEASUREMENTS, POLICY = "evidence of records", "measurements", "key policy"
KINDS = DOCUMENT, AIR_RECEIPT, SIGNED_MANIFEST, EVIDENCE, MEASUREMENTS, POLICY

RECEIPT_MAX_AGE_S = 300  # where a time is given
FRESHNESS_STEP, NONCE_STEP, KEY_STEP = 5, 6, 7  # of nitro.accept
TAG = b"\xd2"
EVIDENCE_HEAD = b"\xa2\x65boots"  # a map of two whose first key is this one
MANIFEST_MARK = b"application/confbench-manifest+cbor"
HEAD_BYTES = 64  # tag, array and protected header of a message


@dataclass(frozen=True, slots=True)
class Trust:
    """What the verifier knows better. None leaves out what would need it.

    `root` is the DER of the root to trust (None: AWS's, by its pinned digest), `pcrs` the image's,
    `owner` signs manifests, `receipt_key` receipts whose document is not at hand. `at` is the time
    to judge at; None judges everything at its own time. `sealers` as in `key_policy.lint`.
    """

    root: bytes | None = None
    pcrs: Mapping[int, bytes] | None = None
    owner: Ed25519PublicKey | None = None
    receipt_key: Ed25519PublicKey | None = None
    at: datetime | None = None
    nonce: bytes | None = None
    sealers: tuple[str, ...] = ()

    @property
    def emulated(self) -> bool:
        """Whether the trusted root is an emulator's."""
        return self.root is not None and sha256(self.root).digest() != AWS_ROOT_SHA256

    @property
    def security_mode(self) -> str:
        """What receipts under this root have to say."""
        return "evaluation" if self.emulated else "production"


def recognise(data: bytes) -> str | None:
    """What kind of file this is. Loose on purpose: a damaged file is still one of its kind."""
    head = data[:HEAD_BYTES]
    if data.startswith(EVIDENCE_HEAD):
        return EVIDENCE
    if head[:1] == b"\x84":
        return DOCUMENT
    if head[:2] == TAG + b"\x84":
        if nitro.PROTECTED in head[:8]:
            return DOCUMENT
        return SIGNED_MANIFEST if MANIFEST_MARK[:20] in head else AIR_RECEIPT
    if data[:4096].lstrip()[:1] == b"{":
        if b'"Statement"' in data:
            return POLICY
        return MEASUREMENTS if b'"enclave_digest"' in data and b'"pcrs"' in data else None
    return None


def judge_document(file: str, data: bytes, trust: Trust) -> tuple[Verdict, Attested | None]:
    """Both results of an attestation document, one after the other."""
    notes: tuple[str, ...] = ()
    try:
        now = trust.at or nitro.claimed_time(data)
        notes = _time_notes(trust, now)
        root = trust.root or _aws_root(data)
        authentic = nitro.authenticate(data, root=root, now=now)
    except VerificationError as error:
        return refused(file, DOCUMENT, AUTHENTIC, error, notes=notes), None
    passed = walked(AUTHENTIC, None)
    if trust.emulated:
        notes += ("its root vouches for emulators only: emulated, no hardware isolation",)
    if trust.pcrs is None:
        need = Failure(
            "image",
            "no measurements to compare with",
            "those of the image that may run",
            "--measurements takes the measurements.json of its build",
        )
        steps = (*passed, *unasked(ACCEPTABLE))
        return Verdict(file, DOCUMENT, Outcome.INCOMPLETE, steps, need, notes), None
    policy = Policy(sha256(root).digest(), root, trust.pcrs, emulated=trust.emulated)
    try:
        attested = nitro.accept(authentic, policy, nonce=trust.nonce, now=now)
    except VerificationError as error:
        return refused(file, DOCUMENT, ACCEPTABLE, error, before=passed, notes=notes), None
    skipped = {KEY_STEP} | ({NONCE_STEP} if trust.nonce is None else set())
    skipped |= {FRESHNESS_STEP} if trust.at is None else set()
    if trust.nonce is None:
        notes += ("no --nonce: nothing shows that it was made for you, or once only",)
    steps = (*passed, *walked(ACCEPTABLE, None, unasked=skipped))
    facts = {
        "platform": attested.platform,
        "module": authentic.module_id,
        "payload sha256": authentic.payload_sha256.hex(),
    }
    return Verdict(file, DOCUMENT, Outcome.VERIFIED, steps, None, notes, facts), attested


def judge_receipt(
    file: str, data: bytes, trust: Trust, attested: Mapping[bytes, Attested]
) -> Verdict:
    """A receipt under the key of the document it names; `attested` has documents by SHA-256."""
    named = _named_document(data)
    digest = named if named in attested else next(iter(attested), None)
    expected = receipt.Expected(security_mode=trust.security_mode)
    key = trust.receipt_key
    notes: tuple[str, ...] = ("by the key given: nothing shows that an attested enclave holds it",)
    if digest is not None:
        key, expected = _bound(digest, attested[digest], trust)
        notes = ()
    if key is None:
        need = Failure(
            "receipt key",
            "no verified attestation document that names one among the files",
            "the one whose enclave signed the receipt",
            "give the document's file too, or --key with the key in hex",
        )
        return Verdict(file, AIR_RECEIPT, Outcome.INCOMPLETE, unasked(RECEIPT), need)
    if trust.at is not None:
        now = int(trust.at.timestamp())
        expected = replace(expected, now=now, max_age_s=RECEIPT_MAX_AGE_S)
    try:
        found = receipt.verify(data, key, expected=expected)
    except VerificationError as error:
        return refused(file, AIR_RECEIPT, RECEIPT, error, notes=notes)
    issued_at = min(found.issued_at, document.MAX_TIMESTAMP_MS // 1000)  # what a calendar can hold
    notes = _time_notes(trust, trust.at or datetime.fromtimestamp(issued_at, UTC)) + notes
    facts: dict[str, str | int | bool] = {
        "model": found.model_id,
        "sequence": found.sequence,
        "security mode": found.security_mode,
    }
    return Verdict(file, AIR_RECEIPT, Outcome.VERIFIED, walked(RECEIPT, None), None, notes, facts)


def judge_manifest(file: str, data: bytes, trust: Trust) -> tuple[Verdict, bytes | None]:
    """A model owner's manifest, and its digest where it holds."""
    if trust.owner is None:
        need = Failure(
            "owner",
            "no key to verify with",
            "the model owner's",
            "--authority takes a public.json that names the owner",
        )
        return Verdict(file, SIGNED_MANIFEST, Outcome.INCOMPLETE, unasked(MANIFEST), need), None
    try:
        manifest, digest = verify_manifest(data, trust.owner)
    except VerificationError as error:
        return refused(file, SIGNED_MANIFEST, MANIFEST, error), None
    facts = _manifest_facts(manifest, digest)
    steps = walked(MANIFEST, None)
    return Verdict(file, SIGNED_MANIFEST, Outcome.VERIFIED, steps, None, (), facts), digest


def judge_policy(file: str, data: bytes, trust: Trust) -> Verdict:
    """A key policy; findings that are no errors are notes."""
    findings = key_policy.lint(data.decode(errors="replace"), sealers=trust.sealers)
    errors = [finding for finding in findings if finding.severity is Severity.ERROR]
    notes = tuple(str(finding) for finding in findings if finding not in errors[:1])
    if not errors:
        return Verdict(file, POLICY, Outcome.VERIFIED, walked(KEY_POLICY, None), None, notes)
    first = errors[0]
    found = f"{first.found} (statement {first.statement})"
    failure = Failure(first.rule, found, key_policy.RULES[first.rule], first.hint)
    unreadable = first.rule == "unreadable"
    outcome = Outcome.UNREADABLE if unreadable else Outcome.NOT_ACCEPTABLE
    steps = walked(KEY_POLICY, first.rule)
    if not unreadable:  # a linter does not stop
        broken = {finding.rule for finding in errors}
        steps = tuple(
            replace(line, result="failed" if rule in broken else "ok")
            for line, rule in zip(steps, key_policy.RULES, strict=True)
        )
    return Verdict(file, POLICY, outcome, steps, failure, notes)


def _aws_root(data: bytes) -> bytes:
    """The DER of AWS's root out of a document that begins with it; refused where it does not."""
    claimed = document.read(cose.parse(data, tagged=None).payload).cabundle[0]
    found = sha256(claimed).digest()
    if found != AWS_ROOT_SHA256:
        raise VerificationError(
            "root",
            found=found.hex(),
            expected=f"{AWS_ROOT_SHA256.hex()} (aws nitro enclaves root g1)",
            hint="--authority takes the public.json of an emulated platform, to trust its root",
        )
    return claimed


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


def _time_notes(trust: Trust, now: datetime) -> tuple[str, ...]:
    when = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    if trust.at is not None:
        return (f"judged at {when}",)
    return (f"judged as archived, at its own time {when}: not whether it is fresh (--at now)",)


def _manifest_facts(manifest: Manifest, digest: bytes) -> dict[str, str | int | bool]:
    return {
        "model": manifest.model,
        "version": manifest.version,
        "source": manifest.source,
        "weights sha256": manifest.weights_sha256.hex(),
        "manifest sha256": digest.hex(),
    }
