"""AWS Nitro attestation documents: authentic first, then acceptable; two results, never one.

The same verifier judges hardware and emulator. Only the pinned root tells them apart.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from hashlib import sha256, sha384
from hmac import compare_digest

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ec import ECDSA, EllipticCurvePublicKey
from cryptography.hazmat.primitives.asymmetric.utils import encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA384

from bench.verify import (
    AWS_ROOT_SHA256,
    IMAGE_PCRS,
    PCR_BYTES,
    Attested,
    Document,
    Policy,
    chain,
    document,
)
from enclave.wire import cose
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError, VerificationError

MAX_BYTES = 20 * 1024
PROTECTED = bytes.fromhex("a1013822")  # {1: -35}, ES384: one comparison, no algorithm to choose
COORDINATE_BYTES = 48
MIN_NONCE_BYTES = 16

INSTANCE_PCR = 4
MODULE_ID = re.compile(r"(i-[0-9a-f]{1,32})-enc[0-9a-f]{1,32}")


def authenticate(data: bytes, *, root: bytes, now: datetime) -> Document:
    """What a security module under `root` (DER) signed; VerificationError names the failed step.

    Archived evidence is judged at its own time: `now=claimed_time(data)`, and has to be reported
    so, since a leaf key that leaks after its three hours could sign an old-looking document.

    1. size: at most 20 KiB, before anything is parsed
    2. envelope: COSE_Sign1, tagged or not, header exactly ES384, nothing unprotected
    3. payload: strict CBOR, and exactly the known fields within their limits
    4. chain: from the pinned root to the enclave's certificate, valid at `now`
    5. signature: by that certificate's key over header and payload
    """
    _check_aware(now)
    message = _envelope(data)  # 1, 2
    found = document.read(message.payload)  # 3
    key = chain.verify(found.cabundle, found.certificate, root=root, now=now)  # 4
    _check_signature(message, key)  # 5
    return found


def claimed_time(data: bytes) -> datetime:
    """The time that a document claims. Nothing of it is verified yet: steps 1 to 3 alone."""
    claimed = document.read(_envelope(data).payload)
    return datetime.fromtimestamp(0, UTC) + timedelta(milliseconds=claimed.timestamp_ms)


def accept(
    authentic: Document,
    policy: Policy,
    *,
    nonce: bytes | None,
    public_key: bytes | None = None,
    now: datetime,
) -> Attested:
    """An authentic document that a policy accepts; VerificationError names the failed step.

    `nonce` is the verifier's challenge, None where none was sent; `public_key` the key that the
    document has to bind, None where the caller takes the key from the document.

    1. root: the document was authenticated under the policy's root, which was named emulated if
       it is
    2. debug mode: the image PCRs are not zero, which in debug mode they are (PCR3 and 4 are not)
    3. pcrs: every PCR of the policy is there and equal; one that is missing is one that differs
    4. instance: PCR4 measures the instance that module_id names
    5. freshness: not older than the policy's limit, not from the future
    6. nonce: the challenge, whole
    7. public key: the one given
    """
    _check_aware(now)
    emulated = _check_root(authentic, policy)  # 1
    _check_image(authentic.pcrs, policy)  # 2, 3
    _check_instance(authentic)  # 4
    _check_freshness(authentic, policy, now)  # 5
    if nonce is not None:  # 6
        if len(nonce) < MIN_NONCE_BYTES:
            raise LocalProtocolError(f"a challenge of {len(nonce)} bytes proves nothing")
        _check_bound("nonce", authentic.nonce, nonce)
    if public_key is not None:  # 7
        _check_bound("public key", authentic.public_key, public_key)
    return Attested(authentic, "local" if emulated else "aws-nitro", emulated)


def _envelope(data: bytes) -> cose.Sign1:
    if len(data) > MAX_BYTES:
        raise VerificationError("size", found=f"{len(data)} bytes", expected=f"at most {MAX_BYTES}")
    try:
        message = cose.parse(data, tagged=None)
    except RemoteProtocolError as error:
        raise VerificationError("envelope", found=error, expected="a COSE_Sign1 message") from error
    if message.protected != PROTECTED:
        raise VerificationError(
            "envelope",
            found=f"protected header {message.protected[:16].hex() or 'empty'}",
            expected=f"{PROTECTED.hex()} (ES384)",
        )
    if len(message.signature) != 2 * COORDINATE_BYTES:
        raise VerificationError(
            "envelope",
            found=f"a signature of {len(message.signature)} bytes",
            expected=f"{2 * COORDINATE_BYTES}: r and s, big endian",
        )
    return message


def _check_signature(message: cose.Sign1, key: EllipticCurvePublicKey) -> None:
    r, s = message.signature[:COORDINATE_BYTES], message.signature[COORDINATE_BYTES:]
    signature = encode_dss_signature(int.from_bytes(r, "big"), int.from_bytes(s, "big"))
    signed = cose.signature_input(message.protected, message.payload)
    try:
        key.verify(signature, signed, ECDSA(SHA384()))
    except InvalidSignature:
        raise VerificationError(
            "signature",
            found="a signature that does not match",
            expected="one by the enclave's certificate over this payload",
            hint="the document was changed, or made by another key",
        ) from None


def _check_root(authentic: Document, policy: Policy) -> bool:
    """Whether the document's root is an emulator's."""
    found = sha256(authentic.cabundle[0]).digest()
    if found != policy.root_sha256:
        raise VerificationError("root", found=found.hex(), expected=policy.root_sha256.hex())
    return found != AWS_ROOT_SHA256


def _check_image(pcrs: Mapping[int, bytes], policy: Policy) -> None:
    for index in IMAGE_PCRS:
        if not policy.allow_debug and index in pcrs and not any(pcrs[index]):
            raise VerificationError(
                "debug mode",
                found=f"pcr {index} is zero",
                expected="a measured image",
                hint="the enclave runs in debug mode: its host can read it; start it without",
            )
    for index, expected in sorted(policy.pcrs.items()):
        found = pcrs.get(index)
        if found is None or not compare_digest(found, expected):
            raise VerificationError(
                f"pcr {index}",
                found=found.hex() if found is not None else "none",
                expected=expected.hex(),
                hint="another image runs there than the one that was built and measured",
            )


def _check_instance(authentic: Document) -> None:
    """Observed in every genuine document; where there is no PCR4 there is nothing to compare."""
    measured = authentic.pcrs.get(INSTANCE_PCR)
    if measured is None:
        return
    named = MODULE_ID.fullmatch(authentic.module_id)
    instance = named[1].encode() if named else b""
    if measured != sha384(bytes(PCR_BYTES) + instance).digest():
        raise VerificationError(
            "instance",
            found=f"pcr 4 {measured.hex()} with module {authentic.module_id[:80]!r}",
            expected="pcr 4 to measure the instance id in module_id",
        )


def _check_freshness(authentic: Document, policy: Policy, now: datetime) -> None:
    age_s = now.timestamp() - authentic.timestamp_ms / 1000
    if not -policy.skew_s <= age_s <= policy.max_age_s:
        raise VerificationError(
            "freshness",
            found=f"{age_s:.3f} s old",
            expected=f"at most {policy.max_age_s} s, or {policy.skew_s} s ahead",
            hint="ask for a fresh document, or check this machine's clock",
        )


def _check_bound(step: str, found: bytes | None, expected: bytes) -> None:
    if found is None or not compare_digest(found, expected):
        raise VerificationError(
            step,
            found=found[:64].hex() if found is not None else "none",
            expected=expected[:64].hex(),
            hint="the document was made for another session",
        )


def _check_aware(now: datetime) -> None:
    if now.tzinfo is None:
        raise LocalProtocolError("a time without a zone cannot be compared with a certificate's")
