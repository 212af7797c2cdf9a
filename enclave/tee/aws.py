"""Keys from AWS KMS and objects from S3, over channels to the parent's relays.

What the host can do to these calls is refuse them: requests are signed, TLS (where the endpoint has
it) ends in here, the data key comes back under a key that only this enclave holds, and any reply
that carries a plaintext is fatal. Objects are untrusted bytes; who opens them checks them.
"""

from __future__ import annotations

import re
import socket
import ssl
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache, partial
from http.client import HTTPException
from typing import Any, Protocol

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from enclave.tee import KMS_PORT, OBJECTS_PORT
from enclave.tee.cms import KeyReleaseError, unwrap
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from enclave.wire.sealed import Manifest
from enclave.wire.settings import Settings

KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:[a-z0-9-]+:[0-9]{12}:key/[A-Za-z0-9-]+")
TIMEOUT_S = 20.0

Dial = Callable[[int], socket.socket]


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of the host's own role: they open no more than the host could open anyway."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


def decrypt_with_recipient(
    dial: Dial,
    endpoint_url: str,
    region: str,
    credentials: Credentials,
    ciphertext: bytes,
    context: Mapping[str, str],
    key_arn: str,
    attestation_document: bytes,
    rsa_private_key: RSAPrivateKey,
    *,
    tls: ssl.SSLContext | None = None,
) -> bytes:
    """KMS Decrypt for the key that `attestation_document` vouches for; returns the data key.

    KeyReleaseError, with the service's own error code in its message, whenever the key does not
    come. In the reply:

    1. No Plaintext but null or an empty one: a service that ignores Recipient is not trusted.
    2. The key is the one asked for, by full ARN.
    3. The envelope opens with `rsa_private_key`.
    """
    if not KEY_ARN.fullmatch(key_arn):
        raise LocalProtocolError(f"{key_arn!r} is not a full key arn")
    kms = _client("kms", dial, KMS_PORT, endpoint_url, region, credentials, tls)
    reply = _call(
        KeyReleaseError,
        "the key service",
        kms.decrypt,
        KeyId=key_arn,
        CiphertextBlob=ciphertext,
        EncryptionContext=dict(context),
        Recipient={
            "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
            "AttestationDocument": attestation_document,
        },
    )
    if reply.get("Plaintext"):  # 1
        raise KeyReleaseError("the key service sent a plaintext")
    if reply.get("KeyId") != key_arn:  # 2
        raise KeyReleaseError("the key service used another key")
    return unwrap(reply.get("CiphertextForRecipient", b""), rsa_private_key)  # 3


def get_object(
    dial: Dial,
    endpoint_url: str,
    region: str,
    credentials: Credentials,
    bucket: str,
    key: str,
    *,
    tls: ssl.SSLContext | None = None,
) -> S3Object:
    """S3 GetObject; RemoteProtocolError if the object does not come."""
    s3 = _client("s3", dial, OBJECTS_PORT, endpoint_url, region, credentials, tls)
    reply = _call(RemoteProtocolError, f"object {key!r}", s3.get_object, Bucket=bucket, Key=key)
    return S3Object(key, reply["Body"], reply.get("ContentLength"))


class Body(Protocol):
    """What is used of botocore's streaming body."""

    def readinto(self, b: memoryview, /) -> int: ...

    def close(self) -> None: ...


class S3Object:
    """An object as it arrives: `length` bytes, from the socket straight into a buffer."""

    def __init__(self, key: str, body: Body, length: int | None) -> None:
        if length is None or length < 0:
            body.close()
            raise RemoteProtocolError(f"object {key!r} has no length")
        self.length = length
        self._key = key
        self._body = body
        self._received = 0

    def readinto(self, buffer: memoryview, /) -> int:
        """Fill as much of `buffer` as came; 0 at the end, RemoteProtocolError at an early one."""
        wanted = buffer[: self.length - self._received]
        if not wanted:
            return 0
        try:
            count = self._body.readinto(wanted)
        except _network_errors() as error:
            raise self._cut_off() from error
        if count == 0:
            raise self._cut_off()
        self._received += count
        return count

    def close(self) -> None:
        """Hang up, whatever is still to come."""
        self._body.close()

    def _cut_off(self) -> RemoteProtocolError:
        self._body.close()
        return RemoteProtocolError(
            f"object {self._key!r} ended after {self._received} of {self.length} bytes"
        )


def release_key(
    dial: Dial, settings: Settings, manifest: Manifest, private_key: RSAPrivateKey, document: bytes
) -> bytes:
    """The data key of a sealed model, as its manifest names it."""
    return decrypt_with_recipient(
        dial,
        settings.kms_endpoint,
        settings.region,
        _credentials(settings),
        manifest.wrapped_key,
        manifest.encryption_context,
        manifest.key_arn,
        document,
        private_key,
    )


def fetch(dial: Dial, settings: Settings, name: str) -> S3Object:
    """An object of the model's prefix."""
    key = f"{settings.prefix}/{name}" if settings.prefix else name
    endpoint, region = settings.objects_endpoint, settings.region
    return get_object(dial, endpoint, region, _credentials(settings), settings.bucket, key)


def _credentials(settings: Settings) -> Credentials:
    return Credentials(settings.access_key_id, settings.secret_access_key, settings.session_token)


@lru_cache(maxsize=4)
def _client(
    service: str,
    dial: Dial,
    port: int,
    url: str,
    region: str,
    credentials: Credentials,
    tls: ssl.SSLContext | None,
) -> Any:
    """Making a client costs more than most calls: one is kept per service and caller."""
    from enclave.tee import aws_client  # botocore: a tenth of a second, so only when needed

    endpoint = aws_client.Endpoint(url, region, partial(dial, port), tls, TIMEOUT_S)
    token = credentials.session_token or None
    return aws_client.make(
        service, endpoint, credentials.access_key_id, credentials.secret_access_key, token
    )


def _call(
    failure: type[Exception], what: str, operation: Callable[..., Any], **members: object
) -> dict[str, Any]:
    from botocore.exceptions import ClientError

    try:
        reply: dict[str, Any] = operation(**members)
    except ClientError as refusal:
        reason = str(refusal.response.get("Error", {}).get("Code", "an error without a code"))
    except _network_errors() as error:
        reason = f"{type(error).__name__}: {error}"
    else:
        return reply
    raise failure(f"{what}: {reason[:200]}")


def _network_errors() -> tuple[type[Exception], ...]:
    """What a channel can end in. Called where an error is caught, so botocore is there already."""
    from botocore.exceptions import BotoCoreError

    return BotoCoreError, OSError, HTTPException, RemoteProtocolError
