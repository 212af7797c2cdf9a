"""GCP Confidential Space attestation tokens: authentic first, then acceptable; two results.

Two flavours. PKI tokens carry their certificates up to a root that is pinned, so they can be judged
offline and for ever: the right form for archives. OIDC tokens need the key set of their day, which
is an argument here. The same verifier judges Google's tokens and the emulator's.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from hmac import compare_digest

from bench.verify import claims, jwks, jwt, x5c
from bench.verify.tokens import (
    GPU_MODEL,
    MAX_LIFE_S,
    AttestedToken,
    Container,
    Flavour,
    Token,
    TokenPolicy,
)
from enclave.wire.errors import LocalProtocolError, VerificationError

PKI_HEADER = frozenset({"alg", "typ", "x5c"})
OIDC_HEADER = frozenset({"alg", "typ", "kid"})

OEM_GOOGLE = 11129  # IANA private enterprise number
SOFTWARE = "CONFIDENTIAL_SPACE"  # GCE: any other operating system
NO_DEBUG = (
    "disabled-since-boot"  # the one good value: documents disagree on how the bad one is spelt
)
TDX, TDX_TCB, TDX_STATUS = "GCP_INTEL_TDX", ("INTEL",), "UpToDate"
GPU_ON = "ON"

FRESH = "ask for a fresh token, or check this machine's clock"
NONCE_BYTES = range(22, 88 + 1)  # 16 random bytes in base64url; the most that the launcher takes


def authenticate_pki(data: bytes, *, root: bytes, now: datetime) -> Token:
    """What a service under `root` (DER) signed; VerificationError names the failed step.

    Archived evidence is judged at its own time: `now=claimed_time(data)`, and has to be reported
    so.

    1. size, envelope, header: strict, RS256, with x5c and perhaps a kid, which says nothing
    2. chain: from the signer's certificate to the pinned root, valid at `now`
    3. signature: by that certificate's key over header and payload
    4. payload: strict JSON, and every claim that is judged of its exact type
    """
    _check_aware(now)
    token = jwt.read(data, required=PKI_HEADER, optional=frozenset({"kid"}))  # 1
    key = x5c.verify(x5c.read(token.header["x5c"]), root=root, now=now)  # 2
    jwt.verify(token, key)  # 3
    return claims.read(token.payload, Flavour.PKI, root)  # 4


def authenticate_oidc(data: bytes, *, key_set: bytes) -> Token:
    """What the holder of a key in `key_set` (JWKS) signed; VerificationError names the failed step.

    The set has to come from the issuer over an authenticated channel; that is the caller's part.

    1. size, envelope, header: strict, RS256, with a kid
    2. key: the one of that id, for RS256 signatures
    3. signature: by that key over header and payload
    4. payload: strict JSON, and every claim that is judged of its exact type
    """
    token = jwt.read(data, required=OIDC_HEADER)  # 1
    key = jwks.key_of(key_set, str(token.header["kid"]))  # 2
    jwt.verify(token, key)  # 3
    return claims.read(token.payload, Flavour.OIDC, key_set)  # 4


def claimed_time(data: bytes) -> datetime:
    """When a token says that it was issued. Nothing of it is verified yet."""
    token = jwt.read(data, required=frozenset({"alg"}), optional=PKI_HEADER | OIDC_HEADER)
    issued_at_s = claims.Members(jwt.read_object(token.payload, "payload")).time_s("iat")
    return datetime.fromtimestamp(0, UTC) + timedelta(seconds=issued_at_s)


def accept(
    authentic: Token, policy: TokenPolicy, *, nonce: str | None, now: datetime
) -> AttestedToken:
    """An authentic token that a policy accepts; VerificationError names the failed step.

    `nonce` is what binds the token to the verifier's session (`enclave.wire.binding`), None where
    none was sent.

    1. anchor: the token was authenticated under the policy's root or key set
    2. issuer: Google's service, or the emulator's where the policy says emulated
    3. audience: this verifier
    4. time: valid at `now`, made for an hour at most, and not older than the policy's limit
    5. debug mode: disabled since boot, in these words
    6. hardware: secure boot on a Google machine of a model that the policy names, its TCB current
    7. software: Confidential Space, with the support attributes that the policy asks for
    8. image: the digest of the container
    9. overrides: none of the command or the environment, but for those that the policy lists
    10. service accounts: some, and none but the policy's
    11. gpu: in confidential mode wherever there is one; there, and of a listed model, where asked
    12. nonce: the one given, whole, and no other beside it
    """
    _check_aware(now)
    hint = f"an authentic {authentic.flavour.value} token, but of another root or key set"
    _check_equal("anchor", authentic.anchor_sha256.hex(), policy.anchor_sha256.hex(), hint)  # 1
    _check_equal("issuer", authentic.issuer, policy.issuer)  # 2
    _check_equal("audience", authentic.audience, policy.audience)  # 3
    _check_time(authentic, policy, now)  # 4
    hint = "its operator can read a debug image's workload: use the production image"
    _check_equal("debug mode", authentic.debug_status, NO_DEBUG, hint)  # 5
    _check_hardware(authentic, policy)  # 6
    _check_software(authentic, policy)  # 7
    container = _check_image(authentic, policy)  # 8
    _check_overrides(container, policy)  # 9
    _check_accounts(authentic, policy)  # 10
    _check_gpu(authentic, policy)  # 11
    _check_nonce(authentic, nonce)  # 12
    platform = "local" if policy.emulated else "gcp-confidential-space"
    return AttestedToken(authentic, platform, policy.emulated)


def _check_time(token: Token, policy: TokenPolicy, now: datetime) -> None:
    life_s = token.expires_at_s - token.issued_at_s
    if not 0 < life_s <= MAX_LIFE_S:
        raise _error("life", f"{life_s} s", f"at most {MAX_LIFE_S} s")
    second = now.timestamp()
    if second >= token.expires_at_s:  # no leeway: the service gives an hour (RFC 7519 4.1.4)
        raise _error("expiry", f"{second - token.expires_at_s:.0f} s after", "before", FRESH)
    if second + policy.skew_s < max(token.not_before_s, token.issued_at_s):
        raise _error("not before", "a token of the future", f"{policy.skew_s} s ahead", FRESH)
    age_s = second - token.issued_at_s
    if age_s > policy.max_age_s:
        raise _error("freshness", f"{age_s:.0f} s old", f"at most {policy.max_age_s} s", FRESH)


def _check_hardware(token: Token, policy: TokenPolicy) -> None:
    if token.secure_boot is not True:
        raise _error("secure boot", token.secure_boot, "true")
    if token.oem_id != OEM_GOOGLE:
        raise _error("oem", token.oem_id, f"{OEM_GOOGLE} (Google)")
    if token.hardware not in policy.hardware:
        hint = "a shielded VM has a TPM and no encrypted memory"
        raise _error("hardware", token.hardware[:80], f"one of {sorted(policy.hardware)}", hint)
    if token.hardware == TDX and token.attester_tcb != TDX_TCB:
        raise _error("tcb", token.attester_tcb, f"{TDX_TCB}: vouched for by Intel's own parts")
    if token.tcb_status not in (None, TDX_STATUS):  # older tokens do not speak of it
        raise _error("tcb", repr(token.tcb_status)[:80], TDX_STATUS)


def _check_software(token: Token, policy: TokenPolicy) -> None:
    _check_equal("software", token.software, SOFTWARE)
    missing = policy.support_attributes - set(token.support_attributes)
    if missing:
        found = f"{list(token.support_attributes)}"[:200]
        raise _error("support", found, f"{sorted(missing)} among them")


def _check_image(token: Token, policy: TokenPolicy) -> Container:
    if token.container is None:
        raise _error("image", "no container", policy.image_digest)
    hint = "another image runs there than the one that was built"
    _check_equal("image", token.container.image_digest, policy.image_digest, hint)
    return token.container


def _check_overrides(container: Container, policy: TokenPolicy) -> None:
    hint = "it lies outside the image's digest and can change what the image does"
    for name, value in container.env_override.items():
        if policy.env_override.get(name) != value:
            raise _error("overrides", f"environment {name!r:.80}", "as the policy lists it", hint)
    command = container.cmd_override
    if command and command not in policy.cmd_override:
        raise _error("overrides", f"command {command!r:.200}", "one of the policy's", hint)


def _check_accounts(token: Token, policy: TokenPolicy) -> None:
    found = set(token.service_accounts)
    if not found or not found <= policy.service_accounts:
        expected = f"of {sorted(policy.service_accounts)}"
        raise _error("service accounts", f"{sorted(found)}"[:200], expected)


def _check_gpu(token: Token, policy: TokenPolicy) -> None:
    if token.gpu is None:
        if policy.gpu_models:
            raise _error("gpu", "none", f"one of {sorted(policy.gpu_models)}")
        return
    hint = "data leaves the CPU's protection for a GPU whose memory its host can read"
    _check_equal("gpu", token.gpu.cc_mode, GPU_ON, hint)
    wrong = [model for model in token.gpu.models if not GPU_MODEL.fullmatch(model)]
    if policy.gpu_models:
        wrong = [model for model in token.gpu.models if model not in policy.gpu_models]
    if wrong or (policy.gpu_models and not token.gpu.models):
        raise _error("gpu", f"{token.gpu.models}"[:200], f"of {sorted(policy.gpu_models)}")


def _check_nonce(token: Token, nonce: str | None) -> None:
    if nonce is None:
        return
    if len(nonce.encode()) not in NONCE_BYTES:
        raise LocalProtocolError(f"a nonce of {len(nonce.encode())} bytes")
    if len(token.nonces) != 1:
        hint = "a token with two nonces would do for two sessions"
        raise _error("nonce", f"{len(token.nonces)} of them", "one", hint)
    hint = "the token was made for another session"
    _check_equal("nonce", token.nonces[0], nonce, hint)


def _check_equal(step: str, found: str, expected: str, hint: str = "") -> None:
    if not compare_digest(found.encode(), expected.encode()):
        raise _error(step, repr(found[:100]), repr(expected), hint)


def _check_aware(now: datetime) -> None:
    if now.tzinfo is None:
        raise LocalProtocolError("a time without a zone cannot be compared with a token's")


def _error(step: str, found: object, expected: str, hint: str = "") -> VerificationError:
    return VerificationError(step, found=found, expected=expected, hint=hint)
