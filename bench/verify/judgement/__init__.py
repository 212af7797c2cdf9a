"""Files by their content: what each is (`recognition`), and the verdict of its verifier.

Nothing here reads a file or a clock. What needs more than bytes (records, images) is judged in
`bench.verify.__main__`, which may reach the code that walks them.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from bench.verify import AWS_ROOT_SHA256

EMULATED = "its root vouches for emulators only: emulated, no hardware isolation"


@dataclass(frozen=True, slots=True)
class TokenTrust:
    """The same for Confidential Space tokens, as in `tokens.TokenPolicy`; what is empty was not
    given. `root` is the DER of another root than Google's, `key_set` the JWKS of OIDC tokens.
    """

    root: bytes | None = None
    key_set: bytes | None = None
    audience: str = ""
    image_digest: str = ""
    hardware: frozenset[str] = frozenset()
    service_accounts: frozenset[str] = frozenset()
    support_attributes: frozenset[str] = frozenset({"STABLE"})
    env_override: Mapping[str, str] = field(default_factory=dict)
    cmd_override: frozenset[tuple[str, ...]] = frozenset()
    gpu_models: frozenset[str] = frozenset()


@dataclass(frozen=True, slots=True)
class Trust:
    """What the verifier knows better. None leaves out what would need it.

    `root` is the DER of the root to trust (None: AWS's, by its pinned digest), `pcrs` the image's,
    `owner` signs manifests, `receipt_key` receipts whose document is not at hand. `at` is the time
    to judge at; None judges everything at its own time. `nonce` is hexadecimal for a document, and
    for a token the text that it repeats. `sealers` as in `key_policy.lint`.
    """

    root: bytes | None = None
    pcrs: Mapping[int, bytes] | None = None
    owner: Ed25519PublicKey | None = None
    receipt_key: Ed25519PublicKey | None = None
    at: datetime | None = None
    nonce: str | None = None
    sealers: tuple[str, ...] = ()
    tokens: TokenTrust = TokenTrust()

    @property
    def emulated(self) -> bool:
        """Whether the trusted root is an emulator's."""
        return self.root is not None and sha256(self.root).digest() != AWS_ROOT_SHA256

    @property
    def security_mode(self) -> str:
        """What receipts under this root have to say."""
        return "evaluation" if self.emulated else "production"


def time_notes(trust: Trust, now: datetime) -> tuple[str, ...]:
    when = f"{now:%Y-%m-%dT%H:%M:%SZ}"
    if trust.at is not None:
        return (f"judged at {when}",)
    return (f"judged as archived, at its own time {when}: not whether it is fresh (--at now)",)
