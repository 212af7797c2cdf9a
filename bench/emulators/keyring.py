"""The emulated KMS's keys and callers, and the ciphertext blobs made under them.

A state folder, readable by its owner alone, holds

    root.der          the root that attestation documents must chain to
    principals.json   access keys and the roles they stand for
    keys/ID.json      one key each: material and policy

Blob: version 1 || key id 16 || nonce 12 || AES-256-GCM ciphertext and tag, with the encryption
context as additional data. Every file is replaced in one step, so a reader never sees half of one.
"""

from __future__ import annotations

import json
import secrets
import uuid
from base64 import b64decode, b64encode
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from pathlib import Path

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from bench import files
from bench.emulators.policy import parse
from bench.emulators.sigv4 import Principal, new_principal

ACCOUNT = "000000000000"
REGION = "local-1"
OWNER = f"arn:aws:iam::{ACCOUNT}:role/owner"
INSTANCE = f"arn:aws:iam::{ACCOUNT}:role/enclave-instance"

BLOB_VERSION = b"\x01"
BLOB_LABEL = b"kms emulator blob v1"
KEY_ID_BYTES = 16
NONCE_BYTES = 12


class BlobError(ValueError):
    """A ciphertext blob does not open under this key and encryption context."""


@dataclass(frozen=True, slots=True)
class Key:
    """A symmetric key; `policy` is the text of its key policy."""

    key_id: str
    policy: str
    created_s: int
    material: bytes = field(repr=False)

    @property
    def arn(self) -> str:
        return f"arn:aws:kms:{REGION}:{ACCOUNT}:key/{self.key_id}"

    def seal(self, plaintext: bytes, context: Mapping[str, str], *, nonce: bytes) -> bytes:
        """Encrypt to a blob; `nonce` is 12 bytes, never used twice."""
        head = BLOB_VERSION + uuid.UUID(self.key_id).bytes
        data = _additional_data(head, context)
        return head + nonce + AESGCM(self.material).encrypt(nonce, plaintext, data)

    def open(self, blob: bytes, context: Mapping[str, str]) -> bytes:
        """Decrypt a blob of this key; BlobError, also for another encryption context."""
        head, rest = blob[: 1 + KEY_ID_BYTES], blob[1 + KEY_ID_BYTES :]
        try:
            return AESGCM(self.material).decrypt(
                rest[:NONCE_BYTES], rest[NONCE_BYTES:], _additional_data(head, context)
            )
        except (InvalidTag, ValueError):
            raise BlobError("the blob does not open") from None


def blob_key_id(blob: bytes) -> str:
    """The id of the key that a blob names; BlobError if it is none of ours."""
    if blob[:1] != BLOB_VERSION or len(blob) < 1 + KEY_ID_BYTES + NONCE_BYTES + 16:
        raise BlobError("not a blob")
    return str(uuid.UUID(bytes=blob[1 : 1 + KEY_ID_BYTES]))


@dataclass(frozen=True, slots=True)
class Keyring:
    """A state folder, open."""

    folder: Path
    root: bytes
    principals: Mapping[str, Principal]

    def key(self, key_id: str) -> Key | None:
        """A key by id or full ARN; None if there is no such key."""
        name = key_id.removeprefix(f"arn:aws:kms:{REGION}:{ACCOUNT}:key/")
        try:
            path = self.folder / "keys" / f"{uuid.UUID(name)}.json"
            fields = json.loads(path.read_text())
        except (ValueError, FileNotFoundError):
            return None
        material = b64decode(fields["material"])
        return Key(path.stem, fields["policy"], fields["created_s"], material)

    def put_policy(self, key: Key, policy: str) -> None:
        """Give a key another policy; PolicyError if it cannot be read."""
        parse(policy)
        _store_key(self.folder, replace(key, policy=policy))

    def principal(self, arn: str) -> Principal:
        """The access key of a role; KeyError if there is none."""
        return {holder.arn: holder for holder in self.principals.values()}[arn]


def create(folder: Path, policy: str, *, root: bytes, now_s: int) -> str:
    """Add a key to a state folder, which is made if need be; returns the key's ARN.

    `root` is the DER of the certificate that attestation documents must chain to, `policy` the
    text of the key policy (PolicyError if it cannot be read). Access keys are made once.
    """
    parse(policy)
    (folder / "keys").mkdir(parents=True, exist_ok=True)
    folder.chmod(0o700)
    files.replace(folder / "root.der", root, secret=True)
    if not (folder / "principals.json").exists():
        files.replace(
            folder / "principals.json", json.dumps(_new_principals()).encode(), secret=True
        )
    key = Key(str(uuid.uuid4()), policy, now_s, secrets.token_bytes(32))
    _store_key(folder, key)
    return key.arn


def load(folder: Path) -> Keyring:
    """Open a state folder."""
    holders = json.loads((folder / "principals.json").read_text())
    principals = {
        name: Principal(holder["arn"], name, holder["secret_access_key"])
        for name, holder in holders.items()
    }
    return Keyring(folder, (folder / "root.der").read_bytes(), principals)


def _new_principals() -> dict[str, dict[str, str]]:
    holders = (new_principal(OWNER), new_principal(INSTANCE))
    return {
        holder.access_key_id: {"arn": holder.arn, "secret_access_key": holder.secret_access_key}
        for holder in holders
    }


def _store_key(folder: Path, key: Key) -> None:
    fields = {
        "policy": key.policy,
        "created_s": key.created_s,
        "material": b64encode(key.material).decode(),
    }
    files.replace(folder / "keys" / f"{key.key_id}.json", json.dumps(fields).encode(), secret=True)


def _additional_data(head: bytes, context: Mapping[str, str]) -> bytes:
    return BLOB_LABEL + head + json.dumps(sorted(context.items())).encode()
