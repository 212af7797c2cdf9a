"""The emulated parties' belongings, made once: root, KMS key with its callers, model owner's key.

Secrets stay in `private/`, readable by their owner alone, and are never made again, so that sealed
models and evidence stay verifiable. `public.json` is what others may know.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from datetime import datetime
from hashlib import sha256
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

from bench import files
from bench.emulators import keyring, pki
from bench.emulators.keyring import INSTANCE, OWNER

CONDITION = "kms:RecipientAttestation:PCR{index}"


@dataclass(frozen=True, slots=True)
class Public:
    """What others may know: the root (DER in hex), the owner's Ed25519 key (hex), the key's ARN."""

    root: str
    root_sha256: str
    owner: str
    key_arn: str

    @classmethod
    def read(cls, state: Path) -> Public:
        """Read public.json of a state folder; ValueError names the file."""
        path = state / "public.json"
        try:
            return cls(**json.loads(path.read_text()))
        except (ValueError, TypeError) as error:
            raise ValueError(f"{path}: found {error}, expected root, owner and key_arn") from None


def provision(state: Path, now: datetime) -> Public:
    """Make what is not there yet and write public.json."""
    private = state / "private"
    private.mkdir(parents=True, exist_ok=True)
    private.chmod(0o700)
    root = pki.load_or_create(private, now).der
    public = Public(
        root=root.hex(),
        root_sha256=sha256(root).hexdigest(),
        owner=owner(state).public_key().public_bytes_raw().hex(),
        key_arn=_key_arn(private, root, now),
    )
    data = json.dumps(asdict(public), indent=2, sort_keys=True) + "\n"
    files.replace(state / "public.json", data.encode())
    return public


def owner(state: Path) -> Ed25519PrivateKey:
    """The model owner's signing key, made on first use."""
    path = state / "private" / "owner.key"
    try:
        return Ed25519PrivateKey.from_private_bytes(path.read_bytes())
    except FileNotFoundError:
        key = Ed25519PrivateKey.generate()
        files.replace(path, key.private_bytes_raw(), secret=True)
        return key


def _key_arn(private: Path, root: bytes, now: datetime) -> str:
    note = private / "key_arn"
    if not note.exists():
        arn = keyring.create(private / "kms", key_policy({}), root=root, now_s=int(now.timestamp()))
        files.replace(note, arn.encode(), secret=True)
    return note.read_text()


def key_policy(pcrs: Mapping[int, bytes]) -> str:
    """The owner may do everything but decrypt; an enclave with these PCRs may decrypt, no one else.

    Without PCRs nobody can decrypt at all.
    """
    administer = ("DescribeKey", "Encrypt", "GenerateDataKey", "GetKeyPolicy", "PutKeyPolicy")
    statements: list[dict[str, object]] = [
        {
            "Sid": "OwnerSealsButCannotOpen",
            "Effect": "Allow",
            "Principal": {"AWS": OWNER},
            "Action": [f"kms:{action}" for action in administer],
            "Resource": "*",
        }
    ]
    if pcrs:
        measured = {CONDITION.format(index=index): value.hex() for index, value in pcrs.items()}
        statements.append(
            {
                "Sid": "OnlyThisImageOpens",
                "Effect": "Allow",
                "Principal": {"AWS": INSTANCE},
                "Action": "kms:Decrypt",
                "Resource": "*",
                "Condition": {"StringEqualsIgnoreCase": measured},
            }
        )
    return json.dumps({"Version": "2012-10-17", "Statement": statements})
