"""The emulator's public key infrastructure, in the structure of the AWS Nitro one.

    root      30 years               kept in a state folder
    region    20 days  path length 2
    zonal      6 days  path length 1
    instance   1 day   path length 0
    enclave    3 hours, no authority; starts 3 s before its first document

All P-384 with ECDSA-SHA384. Every name in it says that it is emulated.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.hashes import SHA384
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    load_pem_private_key,
)
from cryptography.x509.oid import NameOID

from bench import files

ROOT_NAME = "confbench emulated root"
STATE_NAME = "root.pem"  # private key and certificate in one file: never one without the other
DNS_SUFFIX = "local.emulated.confbench"


@dataclass(frozen=True, slots=True)
class Level:
    """One step of the chain: `age` before and `life` from its start; None: no authority."""

    name: str
    age: timedelta
    life: timedelta
    path_length: int | None


ROOT_AGE, ROOT_LIFE = timedelta(days=30), timedelta(days=30 * 365)
AUTHORITIES = (
    Level("region", timedelta(days=10), timedelta(days=20), 2),
    Level("zonal", timedelta(days=3), timedelta(days=6), 1),
    Level("instance", timedelta(hours=10), timedelta(days=1), 0),
)
ENCLAVE = Level("enclave", timedelta(seconds=3), timedelta(hours=3, seconds=3), None)


@dataclass(frozen=True, slots=True)
class Chain:
    """What a security module signs with. Certificates in DER, `cabundle` root first."""

    cabundle: tuple[bytes, ...]
    certificate: bytes
    not_after: datetime
    key: ec.EllipticCurvePrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class Authority:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: ec.EllipticCurvePrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        """The certificate in DER: what a verifier pins."""
        return self.certificate.public_bytes(Encoding.DER)

    def issue(self, name: str, level: Level, now: datetime) -> Authority:
        """A certificate with a fresh key, one level down."""
        key = ec.generate_private_key(ec.SECP384R1())
        begin = now - level.age
        builder = _builder(name, key, begin, begin + level.life, level.path_length)
        return Authority(
            builder.issuer_name(self.certificate.subject).sign(self.key, SHA384()), key
        )


def chain(root: Authority, module_id: str, now: datetime) -> Chain:
    """A fresh chain for one enclave, valid for three hours from `now`.

    Real region, zonal and instance authorities outlive an enclave; here all three are made anew,
    with starts in the past as theirs are, and take milliseconds.
    """
    path = list(_path(root, module_id, now))
    leaf = path[-1]
    return Chain(
        cabundle=(root.der, *(authority.der for authority in path[:-1])),
        certificate=leaf.der,
        not_after=leaf.certificate.not_valid_after_utc,
        key=leaf.key,
    )


def _path(root: Authority, module_id: str, now: datetime) -> Iterator[Authority]:
    issuer = root
    for level in AUTHORITIES:
        issuer = issuer.issue(f"{secrets.token_hex(8)}.{level.name}.{DNS_SUFFIX}", level, now)
        yield issuer
    yield issuer.issue(f"{module_id}.{DNS_SUFFIX}"[:64], ENCLAVE, now)  # RFC 5280 ub-common-name


def create(now: datetime) -> Authority:
    """A new root, in memory alone."""
    key = ec.generate_private_key(ec.SECP384R1())
    begin = now - ROOT_AGE  # before the authorities that it issues
    builder = _builder(ROOT_NAME, key, begin, begin + ROOT_LIFE, None, authority=True)
    return Authority(builder.issuer_name(_subject(ROOT_NAME)).sign(key, SHA384()), key)


def load_or_create(folder: Path, now: datetime) -> Authority:
    """The root of a state folder, made at `now` if there is none, for its owner's eyes alone.

    Kept, so that sealed models and evidence stay verifiable. ValueError for a damaged file.
    """
    path = folder / STATE_NAME
    if not path.exists():
        root = create(now)
        private = root.key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        pem = private + root.certificate.public_bytes(Encoding.PEM)
        files.replace(path, pem, secret=True)
    try:
        data = path.read_bytes()
        key, certificate = load_pem_private_key(data, None), x509.load_pem_x509_certificate(data)
    except ValueError as error:
        raise ValueError(
            f"{path} is no emulator root: {error}\n"
            "hint: delete it; what was sealed or measured under it has to be made again"
        ) from error
    if (
        not isinstance(key, ec.EllipticCurvePrivateKey)
        or key.public_key() != certificate.public_key()
    ):
        raise ValueError(f"{path}: key and certificate do not belong together\nhint: delete it")
    return Authority(certificate, key)


def _subject(name: str) -> x509.Name:
    attributes = (
        (NameOID.COUNTRY_NAME, "ZZ"),  # ISO 3166: no country
        (NameOID.ORGANIZATION_NAME, "confbench"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "emulated"),
        (NameOID.COMMON_NAME, name),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def _builder(
    name: str,
    key: ec.EllipticCurvePrivateKey,
    begin: datetime,
    end: datetime,
    path_length: int | None,
    *,
    authority: bool = False,
) -> x509.CertificateBuilder:
    """All but the issuer. An authority may sign certificates, an enclave documents alone."""
    authority = authority or path_length is not None
    return (
        x509.CertificateBuilder()
        .subject_name(_subject(name))
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(end)
        .add_extension(x509.BasicConstraints(authority, path_length), critical=True)
        .add_extension(_usage(authority, path_length), critical=True)
    )


def _usage(authority: bool, path_length: int | None) -> x509.KeyUsage:
    """As AWS has them: an instance's authority signs certificates and nothing else."""
    return x509.KeyUsage(
        digital_signature=path_length != 0,
        key_cert_sign=authority,
        crl_sign=authority and path_length != 0,
        content_commitment=False,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        encipher_only=False,
        decipher_only=False,
    )
