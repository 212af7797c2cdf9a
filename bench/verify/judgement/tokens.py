"""Verdicts on Confidential Space tokens, PKI (certificates in the header) and OIDC (a key set)."""

from __future__ import annotations

from base64 import b64decode
from datetime import datetime
from hashlib import sha256

from bench.verify import confidential_space, jwks, jwt
from bench.verify.judgement import EMULATED, TokenTrust, Trust, time_notes
from bench.verify.judgement.recognition import Kind
from bench.verify.report import Failure, Line, Outcome, Verdict, refused, unasked, walked
from bench.verify.steps import TOKEN_ACCEPTABLE, TOKEN_OIDC, TOKEN_PKI
from bench.verify.tokens import (
    EMULATED_KID,
    GOOGLE_ROOT_SHA256,
    AttestedToken,
    Flavour,
    Token,
    TokenPolicy,
)
from enclave.wire.errors import VerificationError

KIND = Kind.TOKEN.value
TIME_STEP, NONCE_STEP = 4, 12  # of confidential_space.accept
NEEDED = {
    "audience": "--audience",
    "image_digest": "--image-digest",
    "hardware": "--hardware",
    "service_accounts": "--service-account",
}


def judge(file: str, data: bytes, trust: Trust) -> Verdict:
    """Both results of a token, one after the other."""
    data = data.strip()  # of the blanks and the newline that a file may have around a token
    notes: tuple[str, ...] = ()
    procedure = TOKEN_PKI
    try:
        flavour = _flavour(data)
        procedure = TOKEN_PKI if flavour is Flavour.PKI else TOKEN_OIDC
        if need := _unusable(trust, flavour):
            return Verdict(file, KIND, Outcome.INCOMPLETE, unasked(procedure), need)
        now = trust.at or confidential_space.claimed_time(data)
        notes = time_notes(trust, now)
        anchor = _anchor(data, flavour, trust.tokens)
        if flavour is Flavour.PKI:
            authentic = confidential_space.authenticate_pki(data, root=anchor, now=now)
        else:
            authentic = confidential_space.authenticate_oidc(data, key_set=anchor)
    except VerificationError as error:
        return refused(file, KIND, procedure, error, notes=notes)
    return _accept(file, authentic, anchor, trust, walked(procedure, None), notes, now)


def _unusable(trust: Trust, flavour: Flavour) -> Failure | None:
    """What is needed to judge a token at all, and is not there or of no use."""
    if trust.nonce is not None and len(trust.nonce) not in confidential_space.NONCE_BYTES:
        hint = "a longer challenge is for documents alone"
        return Failure("nonce", f"{len(trust.nonce)} characters", "22 to 88 characters", hint)
    if flavour is Flavour.OIDC and trust.tokens.key_set is None:
        hint = "--jwks takes the key set that its issuer published at the time"
        return Failure("key set", "none to verify with", "the issuer's", hint)
    return None


def _accept(
    file: str,
    authentic: Token,
    anchor: bytes,
    trust: Trust,
    passed: tuple[Line, ...],
    notes: tuple[str, ...],
    now: datetime,
) -> Verdict:
    """Whether an authentic token is acceptable, under a policy that protects something."""
    missing = [option for name, option in NEEDED.items() if not getattr(trust.tokens, name)]
    if missing:
        found, hint = f"no {', '.join(missing)}", "a token without them could be anybody's"
        need = Failure("policy", found, "what this token has to say", hint)
        steps = (*passed, *unasked(TOKEN_ACCEPTABLE))
        return Verdict(file, KIND, Outcome.INCOMPLETE, steps, need, notes)
    try:
        policy = _policy(authentic.flavour, anchor, trust.tokens)
    except VerificationError as error:
        steps = (*passed, *unasked(TOKEN_ACCEPTABLE))
        return Verdict(file, KIND, Outcome.INCOMPLETE, steps, Failure.of(error), notes)
    if policy.emulated:
        notes += (EMULATED,)
    try:
        attested = confidential_space.accept(authentic, policy, nonce=trust.nonce, now=now)
    except VerificationError as error:
        return refused(file, KIND, TOKEN_ACCEPTABLE, error, before=passed, notes=notes)
    if trust.nonce is None:
        notes += ("no --nonce: nothing shows that it was made for you, or once only",)
    skipped = {TIME_STEP} if trust.at is None else set()
    skipped |= {NONCE_STEP} if trust.nonce is None else set()
    steps = (*passed, *walked(TOKEN_ACCEPTABLE, None, unasked=skipped))
    return Verdict(file, KIND, Outcome.VERIFIED, steps, None, notes, _facts(attested))


def _flavour(data: bytes) -> Flavour:
    """By what its header holds; nothing of it is verified yet."""
    every = confidential_space.PKI_HEADER | confidential_space.OIDC_HEADER
    header = jwt.read(data, required=frozenset({"alg"}), optional=every).header
    return Flavour.PKI if "x5c" in header else Flavour.OIDC


def _anchor(data: bytes, flavour: Flavour, trust: TokenTrust) -> bytes:
    """What vouches for a token: the given root or key set, else Google's root if it ends there."""
    if flavour is Flavour.OIDC:
        assert trust.key_set is not None  # by judge
        return trust.key_set
    if trust.root is not None:
        return trust.root
    claimed = _last_certificate(data)
    found = sha256(claimed).digest()
    if found != GOOGLE_ROOT_SHA256:
        raise VerificationError(
            "root",
            found=found.hex(),
            expected=f"{GOOGLE_ROOT_SHA256.hex()} (confidential space root ca)",
            hint="--root takes the certificate of an emulated service, to trust its root",
        )
    return claimed


def _last_certificate(data: bytes) -> bytes:
    required, optional = confidential_space.PKI_HEADER, frozenset({"kid"})
    chain = jwt.read(data, required=required, optional=optional).header["x5c"]
    text = chain[-1] if type(chain) is list and chain else None
    try:
        return b64decode(text) if type(text) is str else b""
    except ValueError:
        return b""


def _policy(flavour: Flavour, anchor: bytes, trust: TokenTrust) -> TokenPolicy:
    digest = sha256(anchor).digest()
    emulated = digest != GOOGLE_ROOT_SHA256
    if flavour is Flavour.OIDC:
        emulated = any(kid.startswith(EMULATED_KID) for kid in jwks.keys(anchor))
    return TokenPolicy(
        flavour=flavour,
        anchor=anchor,
        anchor_sha256=digest,
        audience=trust.audience,
        image_digest=trust.image_digest,
        hardware=trust.hardware,
        service_accounts=trust.service_accounts,
        support_attributes=trust.support_attributes,
        env_override=trust.env_override,
        cmd_override=trust.cmd_override,
        gpu_models=trust.gpu_models,
        emulated=emulated,
    )


def _facts(attested: AttestedToken) -> dict[str, str | int | bool]:
    token = attested.token
    return {
        "platform": attested.platform,
        "flavour": token.flavour.value,
        "hardware": token.hardware,
        "subject": token.subject,
        "payload sha256": token.payload_sha256.hex(),
    }
