"""The certificates in a Confidential Space token's header, from its signer up to the pinned root.

As with Nitro's (`chain`), no path is built: there are three, and each is issued by the next. Google
leaves key usage out of the signer's certificate, and path lengths out of all. Revocation is not
looked at: it would need the network.
"""

from __future__ import annotations

from base64 import b64decode, b64encode
from collections.abc import Sequence
from datetime import datetime
from hashlib import sha256

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPublicKey
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import SignatureAlgorithmOID

from bench.verify import jwt
from bench.verify.chain import CRITICAL, LAZY, UNREADABLE
from enclave.wire.errors import VerificationError

NAMES = ("the signer's certificate", "the intermediate", "the root")  # in the order of the header
MAX_CERTIFICATE_BYTES = 4096


def read(value: object) -> list[bytes]:
    """The DER certificates of an x5c member (RFC 7515 4.1.6: base64 *with* padding)."""
    if type(value) is not list or len(value) != len(NAMES):
        raise _error("x5c", "header", "another number", f"a list of {len(NAMES)} certificates")
    found = []
    for text, name in zip(value, NAMES, strict=True):
        if type(text) is not str or len(text) > 2 * MAX_CERTIFICATE_BYTES:
            raise _error("x5c", name, "another type or a long text", "base64")
        try:
            der = b64decode(text)
        except ValueError:
            der = b""
        if not der or b64encode(der).decode() != text:
            raise _error("x5c", name, "another encoding", "canonical base64")
        found.append(der)
    return found


def verify(chain: Sequence[bytes], *, root: bytes, now: datetime) -> RSAPublicKey:
    """The signer's key that `chain` (DER, signer first) vouches for; VerificationError otherwise.

    1. the last is the pinned root, byte for byte
    2. each, from there down, is canonical DER of a version 3 certificate, RSA with SHA-256
    3. it is issued by the one before, and by no other
    4. it is valid at `now`
    5. the root and the intermediate may sign certificates, and have at most their path length below
    6. the signer is no authority, and may sign where its certificate speaks of usage
    """
    if chain[-1] != root:  # 1
        raise VerificationError(
            "root",
            found=sha256(chain[-1]).hexdigest(),
            expected=sha256(root).hexdigest(),
            hint="this token is of another root: an emulator, or a forgery",
        )
    issuer: x509.Certificate | None = None
    for below, der in reversed(list(enumerate(chain))):
        name = NAMES[below]
        certificate = _parse(der, name)  # 2
        if issuer is not None:
            _check_issued(certificate, issuer, name)  # 3
        _check_validity(certificate, now, name)  # 4
        if below:
            _check_authority(certificate, below - 1, name)  # 5
        issuer = certificate
    _check_signer(certificate, NAMES[0])  # 6
    return jwt.check_key(certificate.public_key(), "certificate")


def _parse(der: bytes, name: str) -> x509.Certificate:
    try:
        certificate = x509.load_der_x509_certificate(der)
        # The signature is whole bytes: no bit of its BIT STRING may count as unused.
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
    if certificate.signature_algorithm_oid != SignatureAlgorithmOID.RSA_WITH_SHA256:
        found = certificate.signature_algorithm_oid.dotted_string
        raise _error("certificate", name, f"signature algorithm {found}", "RSA with SHA-256")
    if unknown:
        raise _error("certificate", name, "an unknown critical extension", "none")
    jwt.check_key(key, "certificate")
    return certificate


def _check_issued(certificate: x509.Certificate, issuer: x509.Certificate, name: str) -> None:
    if certificate.subject == certificate.issuer:
        raise _error("issuer certificate", name, "issued by itself", "issued by the one before")
    try:
        certificate.verify_directly_issued_by(issuer)
    except (*UNREADABLE, InvalidSignature):
        found = "another issuer"
        raise _error("issuer certificate", name, found, "issued by the one before") from None


def _check_validity(certificate: x509.Certificate, now: datetime, name: str) -> None:
    first, last = certificate.not_valid_before_utc, certificate.not_valid_after_utc
    if not first <= now <= last:
        raise VerificationError(
            "validity",
            found=f"{name} valid from {first:%Y-%m-%dT%H:%M:%SZ} to {last:%Y-%m-%dT%H:%M:%SZ}",
            expected=f"valid at {now.isoformat(timespec='seconds')}",
            hint="ask for a fresh token, or check this machine's clock",
        )


def _check_authority(certificate: x509.Certificate, below: int, name: str) -> None:
    constraints, usage = _constraints(certificate, name), _usage(certificate)
    if not constraints.ca or usage is None or not usage.key_cert_sign:
        raise _error("authority", name, "may not sign certificates", "CA:TRUE and keyCertSign")
    length = constraints.path_length
    if length is not None and below > length:
        raise _error("authority", name, f"{below} authorities below it", f"at most {length}")


def _check_signer(certificate: x509.Certificate, name: str) -> None:
    constraints, usage = _constraints(certificate, name), _usage(certificate)
    if constraints.ca or (usage is not None and usage.key_cert_sign):
        raise _error("leaf", name, "an authority", "CA:FALSE, no keyCertSign")
    if usage is not None and not usage.digital_signature:
        raise _error("leaf", name, "may not sign", "digitalSignature, or no key usage at all")


def _constraints(certificate: x509.Certificate, name: str) -> x509.BasicConstraints:
    try:
        found = certificate.extensions.get_extension_for_class(x509.BasicConstraints)
    except x509.ExtensionNotFound:
        raise _error("extensions", name, "no basicConstraints", "a critical one") from None
    if not found.critical:
        raise _error("extensions", name, "basicConstraints not critical", "a critical one")
    return found.value


def _usage(certificate: x509.Certificate) -> x509.KeyUsage | None:
    try:
        return certificate.extensions.get_extension_for_class(x509.KeyUsage).value
    except x509.ExtensionNotFound:
        return None


def _error(step: str, name: str, found: str, expected: str) -> VerificationError:
    return VerificationError(step, found=f"{name}: {found}", expected=expected)
