"""One X.509 certificate at a time, read and checked more strictly than RFC 5280 asks.

What chains of Nitro (`chain`) and of Confidential Space (`x5c`) have in common. Every refusal is a
VerificationError that names the certificate; `step` is the caller's word where callers differ.
"""

from __future__ import annotations

from datetime import datetime

from cryptography import x509
from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import ExtensionOID

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


def parse(
    der: bytes, name: str, *, algorithm: x509.ObjectIdentifier, called: str
) -> x509.Certificate:
    """Canonical DER of a version 3 certificate, signed with `algorithm` (`called` in words)."""
    try:
        certificate = x509.load_der_x509_certificate(der)
        # The signature is whole bytes (RFC 5480): no bit of its BIT STRING may count as unused.
        whole = der.endswith(b"\0" + certificate.signature)
        canonical = whole and certificate.public_bytes(Encoding.DER) == der
        certificate.public_key()
        for field in LAZY:
            getattr(certificate, field)
        unknown = {e.oid for e in certificate.extensions if e.critical} - CRITICAL
    except UNREADABLE as error:
        raise refusal("certificate", name, str(error)[:200], "a certificate in DER") from None
    if not canonical or certificate.version != x509.Version.v3 or certificate.serial_number <= 0:
        raise refusal("certificate", name, "not the one encoding", "canonical DER of version 3")
    if certificate.signature_algorithm_oid != algorithm:
        found = certificate.signature_algorithm_oid.dotted_string
        raise refusal("certificate", name, f"signature algorithm {found}", called)
    if unknown:
        raise refusal("certificate", name, "an unknown critical extension", "none")
    return certificate


def check_issued(
    certificate: x509.Certificate, issuer: x509.Certificate, name: str, *, step: str
) -> None:
    """Signed and named by `issuer`, and not by itself."""
    if certificate.subject == certificate.issuer:  # would not count for path lengths, RFC 5280 6.1
        raise refusal(step, name, "issued by itself", "issued by the one before")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        raise refusal(step, name, "another issuer", "issued by the one before") from None


def check_validity(certificate: x509.Certificate, now: datetime, name: str) -> None:
    """Valid at `now`."""
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= now <= last:
        raise VerificationError(
            "validity",
            found=f"{name} valid from {first:%Y-%m-%dT%H:%M:%SZ} to {last:%Y-%m-%dT%H:%M:%SZ}",
            expected=f"valid at {now.isoformat(timespec='seconds')}",
            hint="ask for fresh evidence, or check this machine's clock",
        )


def check_authority(certificate: x509.Certificate, below: int, name: str) -> None:
    """May sign certificates, with `below` authorities between it and the last one."""
    found, may = constraints(certificate, name), usage(certificate)
    if not found.ca or may is None or not may.key_cert_sign:
        raise refusal("authority", name, "may not sign certificates", "CA:TRUE and keyCertSign")
    length = found.path_length
    if length is not None and below > length:
        raise refusal("authority", name, f"{below} authorities below it", f"at most {length}")


def constraints(certificate: x509.Certificate, name: str) -> x509.BasicConstraints:
    """Its basicConstraints, which have to be there and critical."""
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        raise refusal("extensions", name, "no basicConstraints", "a critical one") from None
    if not found.critical:
        raise refusal("extensions", name, "basicConstraints not critical", "a critical one")
    return found.value


def usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    """Its keyUsage, if it has one."""
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def refusal(step: str, name: str, found: str, expected: str) -> VerificationError:
    """What to raise about the certificate called `name`."""
    return VerificationError(step, found=f"{name}: {found}", expected=expected)
