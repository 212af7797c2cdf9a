"""Tokens that are honest but for one thing: signed anew after each change, so that only the rule
under test can refuse them. Everything is made on the fly under a root of this process.
"""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from functools import cache
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256, SHA384

from bench.emulators.attestor import Attestor, Claims, Holder, Workload, signed
from bench.verify import confidential_space, jwt
from bench.verify.tokens import Flavour, Token, TokenPolicy
from enclave.wire.binding import token_nonce

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
AUDIENCE = "https://confbench.invalid/verifier"
DIGEST = f"sha256:{'a5' * 32}"
WORKLOAD = Workload(DIGEST)
NONCE = token_nonce(b"\x01" * 32, b"\x02" * 32, b"confbench test")
PKI, OIDC = Flavour.PKI, Flavour.OIDC


@cache
def attestor() -> Attestor:
    return Attestor.create(NOW)


def claims(workload: Workload = WORKLOAD, /, **changes: object) -> Claims:
    """Honest claims, some changed."""
    return workload.claims(NOW, AUDIENCE, (NONCE,)) | changes


def submodule(name: str, **changes: object) -> Claims:
    """The `submods` claim with some members of one of them changed; None stands for null."""
    submods = claims()["submods"]
    assert isinstance(submods, dict)
    return {**submods, name: submods.get(name, {}) | changes}


def token(flavour: Flavour = PKI, workload: Workload = WORKLOAD, /, **changes: object) -> bytes:
    """A rightly signed token over `claims(...)`."""
    return attestor().sign(claims(workload, **changes), flavour)


def payload_token(payload: bytes, flavour: Flavour = PKI) -> bytes:
    """Any payload under a signature that is right."""
    return signed(attestor().header(flavour), payload, attestor().key(flavour))


def header_token(flavour: Flavour = PKI, /, **changes: object) -> bytes:
    """An honest payload under a header with members changed, added, or (None) left out."""
    header = attestor().header(flavour) | changes
    header = {name: value for name, value in header.items() if value is not None}
    payload = jwt.unpack(token(flavour).split(b".")[1], "test")
    return signed(header, payload, attestor().key(flavour))


def authenticate(data: bytes, flavour: Flavour = PKI, now: datetime = NOW) -> Token:
    if flavour is OIDC:
        return confidential_space.authenticate_oidc(data, key_set=attestor().key_set)
    return confidential_space.authenticate_pki(data, root=attestor().root, now=now)


def policy(flavour: Flavour = PKI, /, **changes: object) -> TokenPolicy:
    anchor = attestor().root if flavour is PKI else attestor().key_set
    honest = TokenPolicy(
        flavour,
        anchor,
        sha256(anchor).digest(),
        AUDIENCE,
        DIGEST,
        frozenset({"GCP_INTEL_TDX"}),
        frozenset({WORKLOAD.service_account}),
        emulated=True,
    )
    return replace(honest, **changes)  # type: ignore[arg-type]


@dataclass(frozen=True)
class Spec:
    """One certificate: honest unless replaced."""

    authority: bool
    path_length: int | None = None
    begin: datetime = NOW - timedelta(hours=1)
    end: datetime = NOW + timedelta(hours=1)
    constraints: bool | None = True  # there and critical; False: not critical; None: absent
    key_cert_sign: bool | None = None  # None: as an authority has it
    digital_signature: bool = True
    usage: bool = True
    extra: Sequence[x509.ExtensionType] = ()  # critical ones
    key: RSAPrivateKey | ec.EllipticCurvePrivateKey | None = None
    digest: SHA256 | SHA384 = field(default_factory=SHA256)


HONEST = {"intermediate": Spec(True), "signer": Spec(False, usage=False)}


@cache
def key_for(name: str) -> RSAPrivateKey:
    return generate_private_key(65537, 2048)


@cache
def small_key() -> RSAPrivateKey:
    return generate_private_key(65537, 1024)


def issue(
    issuer: x509.Name,
    issuer_key: RSAPrivateKey,
    name: str,
    spec: Spec,
    subject: x509.Name | None = None,
) -> tuple[x509.Certificate, RSAPrivateKey]:
    key = spec.key or key_for(name)
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject or x509.Name.from_rfc4514_string(f"CN={name}"))
        .issuer_name(issuer)
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
    signing = key if isinstance(key, RSAPrivateKey) else key_for(name)
    return builder.sign(issuer_key, spec.digest), signing


def chain_token(root: Holder | None = None, /, **specs: Spec) -> bytes:
    """A token of a chain under the root, some certificates made to another specification."""
    root = root or attestor().chain[-1]
    made = {**HONEST, **specs}
    top = root.certificate.subject
    intermediate, key = issue(top, root.key, "intermediate", made["intermediate"])
    signer, signer_key = issue(intermediate.subject, key, "signer", made["signer"])
    return x5c_token([signer, intermediate, root.certificate], signer_key)


def x5c_token(chain: Sequence[x509.Certificate | bytes], key: RSAPrivateKey) -> bytes:
    """A token whose header holds these certificates, signed by `key`."""
    ders = [Holder(c, key).der if isinstance(c, x509.Certificate) else c for c in chain]
    header = {"alg": "RS256", "typ": "JWT", "x5c": [b64encode(der).decode() for der in ders]}
    return signed(header, jwt.unpack(token().split(b".")[1], "test"), key)
