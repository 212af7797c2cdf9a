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
from cryptography.hazmat.primitives.asymmetric.ec import SECP384R1, EllipticCurvePublicKey
from cryptography.x509.oid import SignatureAlgorithmOID

from bench.verify import certificates
from bench.verify.certificates import check_authority, check_issued, check_validity, refusal
from enclave.wire.errors import VerificationError


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
            check_issued(certificate, issuer, name, step="issuer")  # 3
        check_validity(certificate, now, name)  # 4
        if below >= 0:
            check_authority(certificate, below, name)  # 5
        else:
            _check_leaf(certificate, name)  # 6
        issuer, key = certificate, certificate.public_key()
    assert isinstance(key, EllipticCurvePublicKey)  # by step 2
    return key


def _parse(der: bytes, name: str) -> x509.Certificate:
    algorithm = SignatureAlgorithmOID.ECDSA_WITH_SHA384
    certificate = certificates.parse(der, name, algorithm=algorithm, called="ECDSA with SHA-384")
    key = certificate.public_key()
    if not isinstance(key, EllipticCurvePublicKey) or not isinstance(key.curve, SECP384R1):
        raise refusal("certificate", name, "another key type or curve", "a P-384 key")
    if certificates.usage(certificate) is None:
        raise refusal("extensions", name, "no keyUsage", "one that fits its place")
    return certificate


def _check_leaf(certificate: x509.Certificate, name: str) -> None:
    constraints, usage = (
        certificates.constraints(certificate, name),
        certificates.usage(certificate),
    )
    assert usage is not None  # by step 2
    if constraints.ca or constraints.path_length is not None or usage.key_cert_sign:
        raise refusal("leaf", name, "an authority", "CA:FALSE, no path length, no keyCertSign")
    if not usage.digital_signature:
        raise refusal("leaf", name, "may not sign", "digitalSignature")
