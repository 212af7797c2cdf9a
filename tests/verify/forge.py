"""Documents that are honest but for one thing: signed anew after each change, so that only the
rule under test can refuse them. Everything is made on the fly under a root of this process.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256

import cbor2
from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from bench.emulators import pki
from bench.emulators.nsm import NsmEmulator, encode_payload, measure, sign
from bench.verify import Document, Policy, nitro

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
NONCE = bytes(range(32))
PUBLIC_KEY = b"\x05" * 32
PCRS = {0: b"\xa0" * 48, 1: b"\xa1" * 48, 2: b"\xa2" * 48}
INSTANCE = "i-0123456789abcdef0"
MODULE = f"{INSTANCE}-enc0123456789abcdef"
CURVE_ORDER = int(
    "ffffffffffffffffffffffffffffffffffffffffffffffffc7634d81f4372ddf581a0db248b0a77aecec196accc52973",
    16,
)


@cache
def root() -> pki.Authority:
    return pki.create(NOW)


@cache
def chain() -> pki.Chain:
    return pki.chain(root(), MODULE, NOW)


def fields(of: pki.Chain | None = None, /, **changes: object) -> dict[str, object]:
    """An honest payload's fields, some changed; None as a change stands for null."""
    of = of or chain()
    honest: dict[str, object] = {
        "module_id": MODULE,
        "digest": "SHA384",
        "timestamp": int(NOW.timestamp() * 1000),
        "pcrs": {
            **PCRS,
            **{index: bytes(48) for index in range(3, 16)},
            4: measure(INSTANCE),
        },
        "certificate": of.certificate,
        "cabundle": list(of.cabundle),
        "public_key": PUBLIC_KEY,
        "user_data": b"claims",
        "nonce": NONCE,
    }
    return honest | changes


def document(of: pki.Chain | None = None, /, **changes: object) -> bytes:
    """A signed document over `fields(...)`."""
    return signed(encode_payload(fields(of, **changes), indefinite_map=False), of)


def signed(payload: bytes, of: pki.Chain | None = None) -> bytes:
    """Any payload under a signature that is right."""
    return sign(payload, (of or chain()).key)


def envelope(
    protected: object = nitro.PROTECTED,
    unprotected: object = None,
    payload: object = None,
    signature: object = None,
) -> bytes:
    """An honest message with some of its four parts replaced, not signed anew."""
    honest = cbor2.loads(document())
    parts = [protected, unprotected, payload, signature]
    return cbor2.dumps([honest[i] if part is None else part for i, part in enumerate(parts)])


def authenticate(data: bytes, now: datetime = NOW) -> Document:
    return nitro.authenticate(data, root=root().der, now=now)


def policy(**changes: object) -> Policy:
    der = root().der
    return replace(Policy(sha256(der).digest(), der, PCRS, emulated=True), **changes)  # type: ignore[arg-type]


def emulator(*, debug: bool = False, indefinite_map: bool = True) -> NsmEmulator:
    return NsmEmulator(
        PCRS, root(), lambda: NOW, MODULE, debug=debug, indefinite_map=indefinite_map
    )


@dataclass(frozen=True)
class Spec:
    """One certificate: honest unless replaced."""

    authority: bool
    path_length: int | None
    begin: datetime = NOW - timedelta(hours=1)
    end: datetime = NOW + timedelta(hours=1)
    constraints: bool | None = True  # there and critical; False: not critical; None: absent
    key_cert_sign: bool | None = None  # None: as an authority has it
    digital_signature: bool = True
    usage: bool = True
    extra: Sequence[x509.ExtensionType] = ()  # critical ones
    curve: ec.EllipticCurve = field(default_factory=ec.SECP384R1)
    digest: SHA256 | SHA384 = field(default_factory=SHA384)  # of the issuer's signature over it


HONEST: Mapping[str, Spec] = {
    "region": Spec(True, 2),
    "zonal": Spec(True, 1),
    "instance": Spec(True, 0),
    "enclave": Spec(False, None),
}


def forged_chain(**specs: Spec) -> pki.Chain:
    """A chain under the root, with some certificates made to another specification."""
    return path_to(root(), {**HONEST, **specs})


def path_to(authority: pki.Authority, specs: Mapping[str, Spec]) -> pki.Chain:
    """A chain of these certificates, in order, from `authority` on; the last is the leaf."""
    ders = [authority.der]
    for name, spec in specs.items():
        authority = issue(authority, f"CN={name}", spec)
        ders.append(authority.der)
    return pki.Chain(tuple(ders[:-1]), ders[-1], NOW, authority.key)


def issue(issuer: pki.Authority, subject: str, spec: Spec) -> pki.Authority:
    key = ec.generate_private_key(spec.curve)
    builder = (
        x509.CertificateBuilder()
        .subject_name(x509.Name.from_rfc4514_string(subject))
        .issuer_name(issuer.certificate.subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(spec.begin)
        .not_valid_after(spec.end)
    )
    if spec.constraints is not None:
        constraints = x509.BasicConstraints(spec.authority, spec.path_length)
        builder = builder.add_extension(constraints, critical=spec.constraints)
    if spec.usage:
        signs = spec.authority if spec.key_cert_sign is None else spec.key_cert_sign
        usage = (spec.digital_signature, False, False, False, False, signs, False, False, False)
        builder = builder.add_extension(x509.KeyUsage(*usage), critical=True)
    for extension in spec.extra:
        builder = builder.add_extension(extension, critical=True)
    return pki.Authority(builder.sign(issuer.key, spec.digest), key)


def raw_signature(r: int, s: int) -> bytes:
    return r.to_bytes(48, "big") + s.to_bytes(48, "big")


def coordinates(signature: bytes) -> tuple[int, int]:
    return int.from_bytes(signature[:48], "big"), int.from_bytes(signature[48:], "big")


def der_signature(signature: bytes) -> bytes:
    return utils.encode_dss_signature(*coordinates(signature))
