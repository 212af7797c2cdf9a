"""A model's owner at the emulated key service: makes data keys, and says who may decrypt."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import boto3

from bench.emulators import estate, keyring, kms
from bench.platforms import DataKey
from bench.verify.compliance.bundle import Bundle, Run


def allow(url: str, ring: keyring.Keyring, key_arn: str, pcrs: Mapping[int, bytes]) -> None:
    """As the owner: let the enclave with these measurements, and no other, decrypt."""
    _owner_kms(url, ring).put_key_policy(KeyId=key_arn, Policy=estate.key_policy(pcrs))


def data_key(state: Path, context: Mapping[str, str]) -> DataKey:
    """As the owner: a fresh 256-bit data key, plain for sealing and wrapped for the manifest."""
    public = estate.Public.read(state)
    ring = keyring.load(state / "private" / "kms")
    with kms.run(state / "private" / "kms") as url:
        return fresh_key(url, ring, public.key_arn, context)


def fresh_key(url: str, ring: keyring.Keyring, key_arn: str, context: Mapping[str, str]) -> DataKey:
    """The same of a key service that runs already."""
    reply = _owner_kms(url, ring).generate_data_key(
        KeyId=key_arn, KeySpec="AES_256", EncryptionContext=dict(context)
    )
    return DataKey(reply["Plaintext"], reply["CiphertextBlob"], reply["KeyId"], context)


def bundle(
    public: estate.Public, pcrs: Mapping[int, bytes], manifest: bytes, runs: Sequence[Run]
) -> Bundle:
    """What a reviewer is handed of these runs; `manifest` is the signed file."""
    return Bundle(
        platform="local",
        pcrs=pcrs,
        root=bytes.fromhex(public.root),
        owner=bytes.fromhex(public.owner),
        key_arn=public.key_arn,
        key_policy=estate.key_policy(pcrs),
        sealers=[keyring.OWNER],
        manifest=manifest,
        runs=runs,
    )


def _owner_kms(url: str, ring: keyring.Keyring) -> Any:
    caller = ring.principal(keyring.OWNER)
    return boto3.client(
        "kms",
        endpoint_url=url,
        region_name=keyring.REGION,
        aws_access_key_id=caller.access_key_id,
        aws_secret_access_key=caller.secret_access_key,
    )
