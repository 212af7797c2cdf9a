"""The parties of a key release, for tests: root, security module, key service and its callers."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import boto3
import cbor2
import pytest
from botocore.config import Config
from botocore.exceptions import ClientError
from cryptography.hazmat.primitives.asymmetric import rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from bench.emulators import keyring, pki
from bench.emulators.aws_json import Server
from bench.emulators.keyring import INSTANCE, OWNER, REGION
from bench.emulators.kms import Kms
from bench.emulators.nsm import NsmEmulator

PCRS = {index: bytes((0xA0 + index,)) * 48 for index in (0, 1, 2)}
CONTEXT = {"model": "minilm", "version": "1"}
MODULE = "i-0123456789abcdef0-enc0123456789abcdef"
PRIVATE_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)


def now() -> datetime:
    """Signatures are made by boto3's own clock, so the service has to live in the present."""
    return datetime.now(UTC)


def spki(key: Any) -> bytes:
    encoded: bytes = key.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)
    return encoded


def key_policy(**conditions: Mapping[str, str]) -> str:
    """The owner may all but decrypt; an enclave may decrypt with PCR0 to 2 and this model."""
    pcrs = {f"kms:RecipientAttestation:PCR{i}": pcr.hex().upper() for i, pcr in PCRS.items()}
    administer = ("Encrypt", "GenerateDataKey*", "DescribeKey", "GetKeyPolicy", "PutKeyPolicy")
    return json.dumps(
        {
            "Version": "2012-10-17",
            "Statement": [
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": OWNER},
                    "Action": [f"kms:{action}" for action in administer],
                    "Resource": "*",
                },
                {
                    "Effect": "Allow",
                    "Principal": {"AWS": INSTANCE},
                    "Action": "kms:Decrypt",
                    "Resource": "*",
                    "Condition": {"StringEqualsIgnoreCase": pcrs, **conditions},
                },
            ],
        }
    )


@dataclass(frozen=True)
class Parties:
    """`arn` is a key in the key service's `state`; documents chain to `root`."""

    root: pki.Authority
    state: Path
    arn: str

    @classmethod
    def create(cls, state: Path) -> Parties:
        root = pki.create(now())
        return cls(
            root, state, keyring.create(state, key_policy(), root=root.der, now_s=1_700_000_000)
        )

    def document(
        self,
        public_key: bytes | None = None,
        *,
        pcrs: Mapping[int, bytes] = PCRS,
        at: datetime | None = None,
        debug: bool = False,
    ) -> bytes:
        """An attestation document that vouches for `PRIVATE_KEY`, or for another key."""
        time = at or now()
        module = NsmEmulator(pcrs, self.root, lambda: time, MODULE, debug=debug)
        bound = {"public_key": public_key or spki(PRIVATE_KEY), "user_data": None, "nonce": None}
        answer = cbor2.loads(module.transact(cbor2.dumps({"Attestation": bound})))
        document: bytes = answer["Attestation"]["document"]
        return document

    def client(self, endpoint: str, role: str, **changes: Any) -> Any:
        """boto3, unchanged, with the access key of a role."""
        principal = keyring.load(self.state).principal(role)
        arguments: dict[str, Any] = {
            "endpoint_url": endpoint,
            "region_name": REGION,
            "aws_access_key_id": principal.access_key_id,
            "aws_secret_access_key": principal.secret_access_key,
            "config": Config(retries={"total_max_attempts": 1}),
        }
        return boto3.client("kms", **arguments | changes)

    def log(self) -> list[dict[str, Any]]:
        lines = (self.state / "decisions.jsonl").read_text().splitlines()
        return [json.loads(line) for line in lines]


@contextmanager
def serving(parties: Parties, **changes: Any) -> Iterator[str]:
    """The key service in a thread of this process; yields its endpoint URL."""
    service = Kms(keyring.load(parties.state), **{"now": now} | changes)
    with Server(service) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield f"http://127.0.0.1:{server.port}"
        finally:
            server.shutdown()
            thread.join()


def recipient(document: bytes) -> dict[str, Any]:
    return {"KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256", "AttestationDocument": document}


def refusal(operation: Any, **members: Any) -> tuple[str, int]:
    """(error code, HTTP status)"""
    with pytest.raises(ClientError) as caught:
        operation(**members)
    response = caught.value.response
    return response["Error"]["Code"], response["ResponseMetadata"]["HTTPStatusCode"]


def decrypt(blob: bytes, document: bytes, **changes: Any) -> dict[str, Any]:
    members = {
        "CiphertextBlob": blob,
        "EncryptionContext": CONTEXT,
        "Recipient": recipient(document),
    }
    return members | changes
