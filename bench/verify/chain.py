"""The certificates of a Nitro attestation document, from the pinned root down to the enclave.

Stricter than RFC 5280 path validation, and every genuine chain is this strict: no path is built,
each certificate is issued by the one before it. Revocation is not looked at, as AWS says not to:
leaves live three hours.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID, SignatureAlgorithmOID

from enclave.wire.errors import VerificationError

CRITICAL = frozenset({ExtensionOID.BASIC_CONSTRAINTS, ExtensionOID.KEY_USAGE})

# What the library raises on malformed certificates. Warnings are in the list because a caller may
# have turned them into errors; what the library warns of is refused below in any case.
UNREADABLE = (
    ValueError,
    TypeError,
    UnsupportedAlgorithm,
    x509.InvalidVersion,
    x509.DuplicateExtension,
    x509.UnsupportedGeneralNameType,
    Warning,
)

LAZY = ("subject", "issuer", "not_valid_before_utc", "not_valid_after_utc")  # parsed when read


def verify(
    cabundle: Sequence[bytes], leaf: bytes, *, root: bytes, now: datetime
) -> EllipticCurvePublicKey:
    """The enclave's key that the chain vouches for; VerificationError names the step that failed.

    `cabundle` (root first), `leaf` and `root` are DER. For each certificate in turn:

    1. the first is the pinned root, byte for byte
    2. it is canonical DER of a version 3 certificate, P-384 with ECDSA-SHA384 throughout
    3. it is issued by the one before, and by no other
    4. it is valid at `now`
    5. an authority may sign certificates, and has at most its path length below it
    6. the leaf is no authority and may sign
    """
    if cabundle[0] != root:  # 1
        raise VerificationError(
            "root",
            found=sha256(cabundle[0]).hexdigest(),
            expected=sha256(root).hexdigest(),
            hint="this document is of another root: another platform, an emulator, or a forgery",
        )
    issuer: x509.Certificate | None = None
    for position, der in enumerate((*cabundle, leaf)):
        below = len(cabundle) - 1 - position  # authorities after this one; -1 for the leaf
        name = f"certificate {position}" if below >= 0 else "the enclave's certificate"
        certificate = _parse(der, name)  # 2
        if issuer is not None:
            _check_issued(certificate, issuer, name)  # 3
        _check_validity(certificate, now, name)  # 4
        if below >= 0:
            _check_authority(certificate, below, name)  # 5
        else:
            _check_leaf(certificate, name)  # 6
        issuer, key = certificate, certificate.public_key()
    assert isinstance(key, EllipticCurvePublicKey)  # by step 2
    return key


def _parse(der: bytes, name: str) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        # The signature is whole bytes (RFC 5480): no bit of its BIT STRING may count as unused.
        whole = der.endswith(b"\0" + certificate.signature)
        canonical = whole and certificate.public_bytes(Encoding.DER) == der
        key = certificate.public_key()
        for field in LAZY:
            getattr(certificate, field)
        unknown = {e.oid for e in certificate.extensions if e.critical} - CRITICAL
    except UNREADABLE as error:
        raise _error("certificate", name, str(error)[:200], "a certificate in DER") from None
    if not canonical or certificate.version != x509.Version.v3 or certificate.serial_number <= 0:
        raise _error("certificate", name, "not the one encoding", "canonical DER of version 3")
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise _error("certificate", name, "another key type or curve", "a P-384 key")
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.ECDSA_WITH_SHA384:
        found = certificate.signature_algorithm_oid.dotted_string
        raise _error("certificate", name, f"signature algorithm {found}", "ECDSA with SHA-384")
    if unknown:
        raise _error("certificate", name, "an unknown critical extension", "none")
    return certificate


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate, name: str) -> None:
    if certificate.subject == certificate.issuer:  # would not count for path lengths, RFC 5280 6.1
        raise _error("issuer", name, "issued by itself", "issued by the one before")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        raise _error("issuer", name, "another issuer", "issued by the one before") from None


def _check_validity(certificate: x509.Certificate, now: datetime, name: str) -> None:
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= now <= last:
        raise VerificationError(
            "validity",
            found=f"{name} valid from {first:%Y-%m-%dT%H:%M:%SZ} to {last:%Y-%m-%dT%H:%M:%SZ}",
            expected=f"valid at {now.isoformat(timespec='seconds')}",
            hint="ask for a fresh document, or check this machine's clock",
        )


def _check_authority(certificate: x509.Certificate, below: int, name: str) -> None:
    constraints, usage = _constraints(certificate, name), _usage(certificate, name)
    if not constraints.ca or not usage.key_cert_sign:
        raise _error("authority", name, "may not sign certificates", "CA:TRUE and keyCertSign")
    length = constraints.path_length
    if length is not None and below > length:
        raise _error("authority", name, f"{below} authorities below it", f"at most {length}")


def _check_leaf(certificate: x509.Certificate, name: str) -> None:
    constraints, usage = _constraints(certificate, name), _usage(certificate, name)
    if constraints.ca or constraints.path_length is not None or usage.key_cert_sign:
        raise _error("leaf", name, "an authority", "CA:FALSE, no path length, no keyCertSign")
    if not usage.digital_signature:
        raise _error("leaf", name, "may not sign", "digitalSignature")


def _constraints(certificate: x509.Certificate, name: str) -> x509.BasicConstraints:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        raise _error("extensions", name, "no basicConstraints", "a critical one") from None
    if not found.critical:
        raise _error("extensions", name, "basicConstraints not critical", "a critical one")
    return found.value


def _usage(certificate: x509.Certificate, name: str) -> x509.KeyUsage:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        raise _error("extensions", name, "no keyUsage", "one that fits its place") from None


def _error(step: str, name: str, found: str, expected: str) -> VerificationError:
    return VerificationError(step, found=f"{name}: {found}", expected=expected)
