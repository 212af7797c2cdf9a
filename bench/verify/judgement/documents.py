"""Verdicts on Nitro attestation documents."""

from __future__ import annotations

from hashlib import sha256

from bench.verify import AWS_ROOT_SHA256, Attested, Policy, document, nitro
from bench.verify.judgement import EMULATED, Trust, time_notes
from bench.verify.judgement.recognition import Kind
from bench.verify.report import Failure, Outcome, Verdict, refused, unasked, walked
from bench.verify.steps import ACCEPTABLE, AUTHENTIC
from enclave.wire import cose
from enclave.wire.errors import VerificationError

KIND = Kind.DOCUMENT.value
FRESHNESS_STEP, NONCE_STEP, KEY_STEP = 5, 6, 7  # of nitro.accept


def judge(file: str, data: bytes, trust: Trust) -> tuple[Verdict, Attested | None]:
    """Both results of an attestation document, one after the other."""
    notes: tuple[str, ...] = ()
    nonce = _challenge(trust)
    if isinstance(nonce, Failure):
        return Verdict(file, KIND, Outcome.INCOMPLETE, (), nonce), None
    try:
        now = trust.at or nitro.claimed_time(data)
        notes = time_notes(trust, now)
        root = trust.root or _aws_root(data)
        authentic = nitro.authenticate(data, root=root, now=now)
    except VerificationError as error:
        return refused(file, KIND, AUTHENTIC, error, notes=notes), None
    passed = walked(AUTHENTIC, None)
    if trust.emulated:
        notes += (EMULATED,)
    if trust.pcrs is None:
        need = Failure(
            "image",
            "no measurements to compare with",
            "those of the image that may run",
            "--measurements takes the measurements.json of its build",
        )
        steps = (*passed, *unasked(ACCEPTABLE))
        return Verdict(file, KIND, Outcome.INCOMPLETE, steps, need, notes), None
    policy = Policy(sha256(root).digest(), root, trust.pcrs, emulated=trust.emulated)
    try:
        attested = nitro.accept(authentic, policy, nonce=nonce, now=now)
    except VerificationError as error:
        return refused(file, KIND, ACCEPTABLE, error, before=passed, notes=notes), None
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
    return Verdict(file, KIND, Outcome.VERIFIED, steps, None, notes, facts), attested


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


def _challenge(trust: Trust) -> bytes | Failure | None:
    """The nonce as a document has it."""
    if trust.nonce is None:
        return None
    try:
        nonce = bytes.fromhex(trust.nonce)
    except ValueError:
        nonce = b""
    if len(nonce) >= nitro.MIN_NONCE_BYTES:
        return nonce
    expected = f"a document's challenge: {nitro.MIN_NONCE_BYTES} bytes at least, in hexadecimal"
    return Failure("nonce", trust.nonce, expected, "what a token repeats is for tokens alone")
