"""Attested Inference Receipts, AIR v1: issue, and verify in the specification's four layers.

A receipt is a COSE_Sign1 with tag 18 over the claims (claims.py). The format is frozen; the names
of checks and codes are the specification's own.
"""

from __future__ import annotations

from collections.abc import Container
from dataclasses import dataclass

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey, Ed25519PublicKey

from enclave.wire import cbor, claims, cose
from enclave.wire.claims import Measurements, Receipt
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError, VerificationError

__all__ = ["CHECKS", "Expected", "Measurements", "Receipt", "ReceiptError", "issue", "verify"]

MAX_BYTES = 65_536
CWT = 61  # content type application/cwt
PROTECTED = cbor.encode({cose.ALGORITHM: cose.EDDSA, cose.CONTENT_TYPE: CWT})

NITRO, TDX = "nitro-pcr", "tdx-mrtd-rtmr"
HASH_SCHEMES = ("sha256-single", "sha256-concat", "sha256-manifest")
SECURITY_MODES = ("production", "evaluation")
REGISTER_BYTES = 48  # SHA-384

CHECKS = {  # check: its layer and the code of its failure
    "SIZE": (1, "RECEIPT_TOO_LARGE"),
    "COSE_DECODE": (1, "COSE_DECODE_FAILED"),
    "UNPROTECTED": (1, "NON_EMPTY_UNPROTECTED"),
    "ALG": (1, "BAD_ALG"),
    "CONTENT_TYPE": (1, "BAD_CONTENT_TYPE"),
    "PAYLOAD": (1, "MISSING_PAYLOAD"),
    "CLAIMS_DECODE": (1, "PAYLOAD_NOT_MAP"),
    "EAT_PROFILE": (1, "WRONG_PROFILE"),
    "SIG": (2, "SIG_FAILED"),
    "CTI": (3, "BAD_CTI_LENGTH"),
    "MHASH_PRESENT": (3, "ZERO_MODEL_HASH"),
    "MEAS": (3, "BAD_MEASUREMENT_LENGTH"),
    "MTYPE": (3, "UNKNOWN_MTYPE"),
    "MHASH_SCHEME": (3, "UNKNOWN_MODEL_HASH_SCHEME"),
    "SECURITY_MODE": (3, "UNKNOWN_SECURITY_MODE"),
    "FRESH": (4, "TIMESTAMP_STALE"),
    "MHASH": (4, "MODEL_HASH_MISMATCH"),
    "RHASH": (4, "REQUEST_HASH_MISMATCH"),
    "OHASH": (4, "RESPONSE_HASH_MISMATCH"),
    "ADHASH": (4, "ATTESTATION_DOC_HASH_MISMATCH"),
    "MODEL": (4, "MODEL_ID_MISMATCH"),
    "SECURITY_MODE_POLICY": (4, "SECURITY_MODE_MISMATCH"),
    "PLATFORM": (4, "PLATFORM_MISMATCH"),
    "NONCE": (4, "NONCE_MISMATCH"),
    "REPLAY": (4, "REPLAY_CTI"),
    "MEASUREMENTS": (4, "MEASUREMENT_MISMATCH"),  # ours: AIR v1 leaves it to other verifiers
}


@dataclass(frozen=True, slots=True)
class Expected:
    """What the verifier knows better. None leaves its check out."""

    now: int | None = None  # Unix seconds
    max_age_s: int | None = None
    skew_s: int = 60
    model_hash: bytes | None = None
    request_hash: bytes | None = None
    response_hash: bytes | None = None
    attestation_hash: bytes | None = None
    model_id: str | None = None
    security_mode: str = "production"  # "evaluation" has to be asked for by name
    platform: str | None = None  # a measurement type
    nonce: bytes | None = None
    sequence: int | None = None
    seen: Container[bytes] = ()  # receipt ids that may not come again
    measurements: Measurements | None = None  # those of the verified attestation document


class ReceiptError(VerificationError):
    """`step` is the check that failed; `layer` (1 to 4) and `code` are as AIR v1 names them."""

    def __init__(
        self, step: str, found: object, expected: object, *, code: str = "", hint: str = ""
    ) -> None:
        found, expected = (v.hex() if isinstance(v, bytes) else v for v in (found, expected))
        super().__init__(step, found=found, expected=expected, hint=hint)
        self.layer, usual = CHECKS[step]
        self.code = code or usual


def issue(receipt: Receipt, key: Ed25519PrivateKey) -> bytes:
    """The signed receipt; LocalProtocolError where `verify` would refuse what it says."""
    payload = claims.encode(receipt)
    try:
        _check_claims(receipt)
    except ReceiptError as error:
        raise LocalProtocolError(f"a receipt that cannot be issued: {error}") from error
    return cose.sign_ed25519(payload, key, protected=PROTECTED)


def verify(data: bytes, key: Ed25519PublicKey, *, expected: Expected = Expected()) -> Receipt:
    """The receipt that `key` signed and that meets `expected`; ReceiptError at the first failure.

    1. It has the shape: size, envelope, headers, payload, closed set of claims, profile.
    2. `key` signed it.
    3. Its claims make sense by themselves.
    4. Its claims are what this verifier expects.
    """
    message = _parse(data)  # 1
    receipt = _decode(message.payload)  # 1
    _check_signature(message, key)  # 2
    _check_claims(receipt)  # 3
    _check_expected(receipt, expected)  # 4
    return receipt


def _parse(data: bytes) -> cose.Sign1:
    """1. SIZE, COSE_DECODE, UNPROTECTED, ALG, CONTENT_TYPE, PAYLOAD."""
    if len(data) > MAX_BYTES:
        raise ReceiptError("SIZE", len(data), f"at most {MAX_BYTES} bytes")
    try:
        message = cose.parse(data, tagged=True)
        if message.protected != PROTECTED:
            _refuse_header(cbor.decode(message.protected))
        return message
    except cose.UnprotectedHeaderError as error:
        raise ReceiptError("UNPROTECTED", error, "an empty map") from error
    except cose.PayloadMissingError as error:
        raise ReceiptError("PAYLOAD", error, "the claims") from error
    except RemoteProtocolError as error:
        raise ReceiptError("COSE_DECODE", error, "a COSE_Sign1 with tag 18") from error


def _refuse_header(header: object) -> None:
    """1. Say what is wrong with a protected header that is not the one of AIR v1."""
    if type(header) is not dict:
        raise RemoteProtocolError("the protected header is not a map")
    if header.get(cose.ALGORITHM) != cose.EDDSA:
        raise ReceiptError("ALG", header.get(cose.ALGORITHM), cose.EDDSA)
    if header.get(cose.CONTENT_TYPE) != CWT:
        raise ReceiptError("CONTENT_TYPE", header.get(cose.CONTENT_TYPE), CWT)
    raise RemoteProtocolError("the protected header is not exactly that of AIR v1")


def _decode(payload: bytes) -> Receipt:
    """1. CLAIMS_DECODE, EAT_PROFILE."""
    try:
        return claims.decode(payload)
    except claims.ProfileError as error:
        raise ReceiptError("EAT_PROFILE", error, claims.PROFILE) from error
    except RemoteProtocolError as error:
        raise ReceiptError("CLAIMS_DECODE", error, "the closed map of AIR v1") from error


def _check_signature(message: cose.Sign1, key: Ed25519PublicKey) -> None:
    """2. SIG."""
    size = len(message.signature)
    if size != cose.SIGNATURE_BYTES:
        raise ReceiptError("SIG", size, cose.SIGNATURE_BYTES, code="BAD_SIG_LENGTH")
    try:
        cose.verify_ed25519(message, key)
    except VerificationError as error:
        raise ReceiptError("SIG", error.found, error.expected, hint=error.hint) from error


def _check_claims(receipt: Receipt) -> None:
    """3. CTI, MHASH_PRESENT, MEAS, MTYPE, MHASH_SCHEME, SECURITY_MODE."""
    measurements = receipt.measurements
    if not any(receipt.receipt_id):
        raise ReceiptError("CTI", "zeros", "a random id")
    if not any(receipt.model_hash):
        raise ReceiptError("MHASH_PRESENT", "zeros", "a digest")
    for name, register in measurements.registers().items():
        if len(register) != REGISTER_BYTES:
            raise ReceiptError("MEAS", f"{name} of {len(register)} bytes", REGISTER_BYTES)
    if measurements.measurement_type == TDX and measurements.pcr8 is not None:
        raise ReceiptError("MEAS", "pcr8", "none under TDX", code="UNEXPECTED_MEASUREMENT")
    for step, found, known in (
        ("MTYPE", measurements.measurement_type, (NITRO, TDX)),
        ("MHASH_SCHEME", receipt.model_hash_scheme, (*HASH_SCHEMES, None)),
        ("SECURITY_MODE", receipt.security_mode, SECURITY_MODES),
    ):
        if found not in known:
            raise ReceiptError(step, found, known)


def _check_expected(receipt: Receipt, expected: Expected) -> None:
    """4. FRESH, then the comparisons in the specification's order, then our own."""
    _check_fresh(receipt.issued_at, expected)
    no_nonce = "" if receipt.nonce else "NONCE_MISSING"
    for step, found, wanted, code in (
        ("MHASH", receipt.model_hash, expected.model_hash, ""),
        ("RHASH", receipt.request_hash, expected.request_hash, ""),
        ("OHASH", receipt.response_hash, expected.response_hash, ""),
        ("ADHASH", receipt.attestation_hash, expected.attestation_hash, ""),
        ("MODEL", receipt.model_id, expected.model_id, ""),
        ("SECURITY_MODE_POLICY", receipt.security_mode, expected.security_mode, ""),
        ("PLATFORM", receipt.measurements.measurement_type, expected.platform, ""),
        ("NONCE", receipt.nonce, expected.nonce, no_nonce),
        ("REPLAY", receipt.sequence, expected.sequence, "SEQUENCE_MISMATCH"),
    ):
        if wanted is not None and found != wanted:
            raise ReceiptError(step, found, wanted, code=code)
    if receipt.receipt_id in expected.seen:
        raise ReceiptError("REPLAY", receipt.receipt_id, "an id not seen before")
    if expected.measurements is not None:
        _check_measurements(receipt.measurements, expected.measurements)


def _check_fresh(issued_at: int, expected: Expected) -> None:
    """4. FRESH: now - max_age_s <= issued_at <= now + skew_s."""
    if expected.now is None:
        if expected.max_age_s is not None:
            raise LocalProtocolError("an age is counted from `now`, which was not given")
        return
    age_s = expected.now - issued_at
    if -age_s > expected.skew_s:
        found = f"{-age_s} s in the future"
        raise ReceiptError("FRESH", found, f"{expected.skew_s} s", code="TIMESTAMP_FUTURE")
    if expected.max_age_s is not None and age_s > expected.max_age_s:
        raise ReceiptError("FRESH", f"{age_s} s old", f"at most {expected.max_age_s} s")


def _check_measurements(claimed: Measurements, attested: Measurements) -> None:
    """4. MEASUREMENTS: every register that the receipt names is the attested one."""
    if claimed.measurement_type != attested.measurement_type:
        raise ReceiptError("MEASUREMENTS", claimed.measurement_type, attested.measurement_type)
    for name, register in claimed.registers().items():
        if register != getattr(attested, name):
            hint = f"{name} of the receipt is not the one in the attestation document"
            raise ReceiptError("MEASUREMENTS", register, getattr(attested, name), hint=hint)
