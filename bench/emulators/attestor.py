"""An emulated Google attestation service: what signs Confidential Space tokens.

    root           10 years
    intermediate    3 years
    signer         60 days, in the header of PKI tokens
    OIDC key       in the key set, by its id

All RSA-2048 with SHA-256, made anew for each process. Certificates, key id and issuer say that they
are emulated. It signs whatever claims it is given: an emulator has no hardware to ask.
"""

from __future__ import annotations

import json
import secrets
from base64 import b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from hashlib import sha256

from cryptography import x509
from cryptography.hazmat.primitives.asymmetric.padding import PKCS1v15
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey, generate_private_key
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding
from cryptography.x509.oid import NameOID

from bench.verify import jwt
from bench.verify.tokens import EMULATED_ISSUER, EMULATED_KID, MAX_LIFE_S, Flavour

KEY_BITS = 2048

Claims = dict[str, object]


@dataclass(frozen=True, slots=True)
class Level:
    """One certificate: `age` before and `life` from its start."""

    name: str
    age: timedelta
    life: timedelta
    authority: bool


ROOT = Level("root", timedelta(days=365), timedelta(days=3652), True)
INTERMEDIATE = Level("intermediate", timedelta(days=360), timedelta(days=1096), True)
SIGNER = Level("signer", timedelta(days=1), timedelta(days=60), False)


@dataclass(frozen=True, slots=True)
class Holder:
    """A certificate and its private key."""

    certificate: x509.Certificate
    key: RSAPrivateKey = field(repr=False)

    @property
    def der(self) -> bytes:
        return self.certificate.public_bytes(Encoding.DER)


@dataclass(frozen=True, slots=True)
class Attestor:
    """Signs tokens of both flavours. `chain` is signer first, root last, as x5c has it."""

    chain: tuple[Holder, ...]
    kid: str
    oidc_key: RSAPrivateKey = field(repr=False)

    @classmethod
    def create(cls, now: datetime) -> Attestor:
        """A fresh root and all below it; takes some tenths of a second."""
        root = issue(None, ROOT, now)
        intermediate = issue(root, INTERMEDIATE, now)
        chain = (issue(intermediate, SIGNER, now), intermediate, root)
        return cls(chain, EMULATED_KID + secrets.token_hex(8), new_key())

    @property
    def root(self) -> bytes:
        """What a verifier of PKI tokens pins, in DER."""
        return self.chain[-1].der

    @property
    def key_set(self) -> bytes:
        """What a verifier of OIDC tokens is given: JWKS (RFC 7517)."""
        numbers = self.oidc_key.public_key().public_numbers()
        key = {"kty": "RSA", "use": "sig", "alg": jwt.ALGORITHM, "kid": self.kid}
        key |= {"n": _number(numbers.n), "e": _number(numbers.e)}
        return json.dumps({"keys": [key]}).encode()

    def header(self, flavour: Flavour) -> dict[str, object]:
        """The header of a token, as the service writes it."""
        header: dict[str, object] = {"alg": jwt.ALGORITHM, "kid": self.kid, "typ": jwt.TYPE}
        if flavour is Flavour.PKI:
            header["kid"] = EMULATED_KID + sha256(self.chain[0].der).hexdigest()[:16]
            header["x5c"] = [b64encode(holder.der).decode() for holder in self.chain]
        return header

    def key(self, flavour: Flavour) -> RSAPrivateKey:
        """What tokens of a flavour are signed with."""
        return self.oidc_key if flavour is Flavour.OIDC else self.chain[0].key

    def sign(self, claims: Mapping[str, object], flavour: Flavour) -> bytes:
        """A token over these claims."""
        payload = json.dumps(claims, separators=(",", ":")).encode()
        return signed(self.header(flavour), payload, self.key(flavour))


@dataclass(frozen=True, slots=True)
class Workload:
    """What runs, as a token tells it; a service would learn it from the machine."""

    image_digest: str
    hardware: str = "GCP_INTEL_TDX"
    service_account: str = "workload@emulated.iam.gserviceaccount.com"
    debug: bool = False
    env_override: Mapping[str, str] = field(default_factory=dict)
    cmd_override: tuple[str, ...] = ()
    gpu_cc_mode: str | None = None

    def claims(
        self, now: datetime, audience: str, nonces: tuple[str, ...], life_s: int = MAX_LIFE_S
    ) -> Claims:
        """All claims of a token, in the service's order. One nonce is a text, more are a list."""
        issued_at_s = int(now.timestamp())
        claims: Claims = {"aud": audience, "exp": issued_at_s + life_s, "iat": issued_at_s}
        claims |= {"iss": EMULATED_ISSUER, "nbf": issued_at_s, "sub": f"{EMULATED_ISSUER}/vm"}
        if nonces:
            claims["eat_nonce"] = nonces[0] if len(nonces) == 1 else list(nonces)
        claims |= {"secboot": True, "oemid": 11129, "hwmodel": self.hardware}
        claims |= {"swname": "CONFIDENTIAL_SPACE", "swversion": ["250800"]}
        if self.hardware == "GCP_INTEL_TDX":
            claims["attester_tcb"] = ["INTEL"]
            claims["tdx"] = {"gcp_attester_tcb_status": "UpToDate"}
        claims["dbgstat"] = "enabled" if self.debug else "disabled-since-boot"
        claims["submods"] = self._submodules()
        return claims | {"google_service_accounts": [self.service_account]}

    def _submodules(self) -> Claims:
        space: Claims = {"monitoring_enabled": {"memory": False}}
        if not self.debug:
            space["support_attributes"] = ["LATEST", "STABLE", "USABLE"]
        container: Claims = {
            "image_reference": f"emulated.invalid/workload@{self.image_digest}",
            "image_digest": self.image_digest,
            "restart_policy": "Never",
            "image_id": f"sha256:{sha256(self.image_digest.encode()).hexdigest()}",
            "env": {"HOSTNAME": "emulated", **self.env_override},
            "args": list(self.cmd_override) or ["/usr/bin/workload"],
            "env_override": dict(self.env_override) or None,
            "cmd_override": list(self.cmd_override) or None,
        }
        gce = {"zone": "emulated", "project_id": "emulated", "project_number": "0"}
        found: Claims = {"confidential_space": space, "container": container, "gce": gce}
        if self.gpu_cc_mode is not None:
            gpus = [{"hwmodel": "GCP_NVIDIA_H100", "driver_version": "0", "vbios_version": "0"}]
            found["nvidia_gpu"] = {"cc_mode": self.gpu_cc_mode, "cc_feature": "SPT", "gpus": gpus}
        return found


def signed(header: Mapping[str, object], payload: bytes, key: RSAPrivateKey) -> bytes:
    """A compact signature over any header and payload."""
    head = json.dumps(header, separators=(",", ":")).encode()
    message = jwt.pack(head) + b"." + jwt.pack(payload)
    return message + b"." + jwt.pack(key.sign(message, PKCS1v15(), SHA256()))


def new_key() -> RSAPrivateKey:
    """An RSA key for throwing away."""
    return generate_private_key(jwt.EXPONENT, KEY_BITS)


def issue(issuer: Holder | None, level: Level, now: datetime) -> Holder:
    """A certificate with a fresh key, by `issuer` or (None) by itself."""
    key = new_key()
    subject = _subject(level.name)
    begin = now - level.age
    builder = (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer.certificate.subject if issuer else subject)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(begin)
        .not_valid_after(begin + level.life)
        .add_extension(x509.BasicConstraints(level.authority, None), critical=True)
    )
    if level.authority:  # Google's signer has no key usage
        usage = (False, False, False, False, False, True, True, False, False)
        builder = builder.add_extension(x509.KeyUsage(*usage), critical=True)
    return Holder(builder.sign(issuer.key if issuer else key, SHA256()), key)


def _subject(name: str) -> x509.Name:
    attributes = (
        (NameOID.COUNTRY_NAME, "ZZ"),  # ISO 3166: no country
        (NameOID.ORGANIZATION_NAME, "confbench"),
        (NameOID.ORGANIZATIONAL_UNIT_NAME, "emulated"),
        (NameOID.COMMON_NAME, f"confbench emulated confidential space {name}"),
    )
    return x509.Name([x509.NameAttribute(oid, value) for oid, value in attributes])


def _number(value: int) -> str:
    return jwt.pack(value.to_bytes((value.bit_length() + 7) // 8, "big")).decode()
