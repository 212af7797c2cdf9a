"""What a verifier insists on of a Confidential Space token (`TokenPolicy`), what a token says
(`Token`), and one that was accepted (`AttestedToken`).

*Authentic* and *acceptable* are separate results, as with Nitro documents: a debug image's token
has a perfect signature. `Token` is made by `authenticate_*` alone, `AttestedToken` by `accept`.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import Enum
from hashlib import sha256

from bench.verify import jwks
from enclave.wire.errors import VerificationError

# SHA-256 of the DER of CN=Confidential Space Root CA (2024 to 2034). Keys of the other flavour are
# exchanged every few weeks, so there is nothing to pin: whoever gives the key set answers for it.
GOOGLE_ROOT_SHA256 = bytes.fromhex(
    "148b293821bb0c6a317f413c8ba475814091cb22d49b9e3c94198db8e8f86c39"
)
GOOGLE_ISSUER = "https://confidentialcomputing.googleapis.com"
EMULATED_ISSUER = "https://confidentialcomputing.emulated.invalid"
EMULATED_KID = "emulated-"

STS_AUDIENCE = "https://sts.googleapis.com"  # of the default token, that any workload may show
MAX_AUDIENCE_BYTES = 512

MODELS = frozenset({"GCP_INTEL_TDX", "GCP_AMD_SEV", "GCP_AMD_SEV_ES"})  # SHIELDED_VM is no TEE
GPU_MODEL = re.compile(r"GCP_NVIDIA_[A-Z0-9_]+")
IMAGE_DIGEST = re.compile(r"sha256:[0-9a-f]{64}")
LOADER = "LD_"  # variables that bring code into a process, whatever its image holds

MAX_LIFE_S = 3600  # what the service gives


class Flavour(Enum):
    """How a token is vouched for: by a certificate chain in its header, or by a published key."""

    PKI = "PKI"
    OIDC = "OIDC"


@dataclass(frozen=True, slots=True)
class TokenPolicy:
    """What a verifier insists on. VerificationError for a policy that would protect nothing.

    `anchor` is the root certificate in DER (PKI) or the key set as it was fetched (OIDC), and
    `anchor_sha256` its digest. All of `audience`, `image_digest`, `hardware` (the models that will
    do) and `service_accounts` (the only ones that may run the workload) are named: none has a
    default that accepts. Environment and command overrides lie outside the image's digest, so each
    is refused unless it is listed with its value. `gpu_models` makes a GPU obligatory. An anchor
    other than Google's vouches for emulators only, and is refused unless `emulated` says so.
    """

    flavour: Flavour
    anchor: bytes = field(repr=False)
    anchor_sha256: bytes
    audience: str
    image_digest: str
    hardware: frozenset[str]
    service_accounts: frozenset[str]
    support_attributes: frozenset[str] = frozenset({"STABLE"})
    env_override: Mapping[str, str] = field(default_factory=dict)
    cmd_override: frozenset[tuple[str, ...]] = frozenset()
    gpu_models: frozenset[str] = frozenset()
    max_age_s: int = MAX_LIFE_S
    skew_s: int = 60
    emulated: bool = False

    def __post_init__(self) -> None:
        self._check_anchor()
        audience = self.audience.encode()
        if not 0 < len(audience) <= MAX_AUDIENCE_BYTES or self.audience == STS_AUDIENCE:
            raise _policy_error("audience", self.audience[:80], "one of the verifier's own")
        if not IMAGE_DIGEST.fullmatch(self.image_digest):
            raise _policy_error("image", self.image_digest[:80], "sha256: and 64 hex digits")
        if not self.hardware or not self.hardware <= MODELS:
            raise _policy_error("hardware", sorted(self.hardware), f"some of {sorted(MODELS)}")
        if not self.service_accounts or not self.support_attributes:
            raise _policy_error("names", "an empty set", "service accounts, support attributes")
        if any(name.startswith(LOADER) for name in self.env_override):
            raise _policy_error("overrides", "a variable of the loader", "none: it can load code")
        if not all(GPU_MODEL.fullmatch(model) for model in self.gpu_models):
            raise _policy_error("gpu", sorted(self.gpu_models), "models such as GCP_NVIDIA_H100")
        if not (0 < self.max_age_s <= MAX_LIFE_S and 0 <= self.skew_s <= MAX_LIFE_S):
            raise _policy_error(
                "times", f"{self.max_age_s} s, skew {self.skew_s} s", f"up to {MAX_LIFE_S} s"
            )

    def _check_anchor(self) -> None:
        found = sha256(self.anchor).digest()
        if found != self.anchor_sha256:
            raise _policy_error(
                "anchor",
                found.hex(),
                self.anchor_sha256.hex(),
                hint="pin the digest of the certificate's DER, or of the key set's bytes",
            )
        if self.flavour is Flavour.PKI:
            emulated = {found != GOOGLE_ROOT_SHA256}
        else:
            emulated = {kid.startswith(EMULATED_KID) for kid in jwks.keys(self.anchor)}
        if emulated != {self.emulated}:
            raise _policy_error(
                "emulated",
                f"emulated={self.emulated} with anchor {found.hex()}",
                "emulated=False with Google's anchor, emulated=True with an emulator's",
                hint="what is not Google's can vouch for emulators only, and has to say so",
            )

    @property
    def issuer(self) -> str:
        """The issuer that tokens must name."""
        return EMULATED_ISSUER if self.emulated else GOOGLE_ISSUER


@dataclass(frozen=True, slots=True)
class Container:
    """The workload. `image_digest` covers neither `env_override` nor `cmd_override`."""

    image_reference: str
    image_digest: str
    restart_policy: str
    args: tuple[str, ...]
    env_override: Mapping[str, str]
    cmd_override: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Gpu:
    """The GPUs' confidential mode (ON, OFF, DEVTOOLS) and each one's model."""

    cc_mode: str
    models: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Token:
    """An authentic token: an attestation service said this. Whether to believe the workload behind
    it is for `accept` to say.

    `*_s` are seconds since the epoch by the service's clock. What a token may leave out is empty or
    None. `payload_sha256` names the token; `anchor_sha256` says under what it was authenticated.
    """

    flavour: Flavour
    anchor_sha256: bytes
    issuer: str
    audience: str
    subject: str
    issued_at_s: int
    not_before_s: int
    expires_at_s: int
    nonces: tuple[str, ...]
    secure_boot: bool
    oem_id: int
    hardware: str
    attester_tcb: tuple[str, ...]
    tcb_status: str | None
    software: str
    software_version: tuple[str, ...]
    debug_status: str
    support_attributes: tuple[str, ...]
    container: Container | None
    service_accounts: tuple[str, ...]
    gpu: Gpu | None
    payload_sha256: bytes


@dataclass(frozen=True, slots=True)
class AttestedToken:
    """A token that a policy accepted. `emulated`: it vouches for an emulator, on `platform`."""

    token: Token
    platform: str
    emulated: bool


def _policy_error(what: str, found: object, expected: str, hint: str = "") -> VerificationError:
    return VerificationError(f"policy {what}", found=found, expected=expected, hint=hint)
