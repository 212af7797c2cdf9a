"""Keys from AWS KMS and objects from S3, over channels to the parent's relays.

What the host can do to these calls is refuse them: requests are signed, TLS (on every platform but
`local`) ends in here at an endpoint that it cannot choose, secrets come back under a key that only
this enclave holds, and any reply that carries a plaintext is fatal. Objects are untrusted bytes;
who opens them checks them.
"""

from __future__ import annotations

import re
import socket
import ssl
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field, replace
from functools import lru_cache, partial
from typing import Any

from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey

from enclave.tee import KMS_PORT, OBJECTS_PORT
from enclave.tee.cms import KeyReleaseError, unwrap
from enclave.tee.patience import Patience, UnavailableError
from enclave.tee.s3_object import S3Object
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from enclave.wire.manifest import Manifest
from enclave.wire.settings import Settings

KEY_ARN = re.compile(r"arn:aws[a-z-]*:kms:(?P<region>[a-z0-9-]+):[0-9]{12}:key/[A-Za-z0-9-]+")
REGION = re.compile(r"[a-z0-9-]{1,32}")
PORTS = {"kms": KMS_PORT, "s3": OBJECTS_PORT}
DATA_KEY_BYTES = 32
MAX_WRAPPED_BYTES = 6144  # CiphertextBlob of the KMS API
TIMEOUT_S = 20.0
TOO_MANY_REQUESTS, SERVER_ERROR = 429, 500  # statuses (RFC 6585 4, RFC 9110 15.6)
THROTTLED = ("ThrottlingException", "Throttling", "TooManyRequestsException")

Dial = Callable[[int], socket.socket]

_making = threading.Lock()  # botocore's clients may be shared among threads, but not made at once


class KeyServiceBusyError(KeyReleaseError):
    """The key service was not reached, was too slow or too busy: it may answer another time."""


@dataclass(frozen=True, slots=True)
class Credentials:
    """Keys of the host's own role: they open no more than the host could open anyway."""

    access_key_id: str
    secret_access_key: str = field(repr=False)
    session_token: str = field(default="", repr=False)


@dataclass(frozen=True, slots=True)
class Access:
    """How a service is reached, and as whom. Without `tls` over plain http, and with it never."""

    dial: Dial
    url: str
    region: str
    credentials: Credentials
    tls: ssl.SSLContext | None
    timeout_s: float = TIMEOUT_S


@dataclass(frozen=True, slots=True)
class Recipient:
    """For whom a secret is asked: `document` vouches for the public half of `private_key`."""

    document: bytes
    private_key: RSAPrivateKey = field(repr=False)


@dataclass(frozen=True, slots=True)
class DataKey:
    """A fresh 256-bit key, and the same as the key service wrapped it."""

    plaintext: bytes = field(repr=False)
    wrapped: bytes


def decrypt_with_recipient(
    access: Access,
    recipient: Recipient,
    key_arn: str,
    context: Mapping[str, str],
    ciphertext: bytes,
) -> bytes:
    """KMS Decrypt for an attested recipient; returns the plaintext.

    KeyReleaseError, with the service's own error code in its message, whenever it does not come.
    """
    reply = _ask(access, recipient, "decrypt", key_arn, context, CiphertextBlob=ciphertext)
    return _open(reply, key_arn, recipient)


def generate_data_key_with_recipient(
    access: Access, recipient: Recipient, key_arn: str, context: Mapping[str, str]
) -> DataKey:
    """KMS GenerateDataKey for an attested recipient: a fresh key that only it and KMS can open.

    KeyReleaseError whenever it does not come. Anyone can make an envelope for a public key, so that
    KMS made this one rests on TLS alone: without it, whoever answers has chosen the key.
    """
    asked = {"KeySpec": "AES_256"}
    reply = _ask(access, recipient, "generate_data_key", key_arn, context, **asked)
    key = DataKey(_open(reply, key_arn, recipient), reply.get("CiphertextBlob", b""))
    if len(key.plaintext) != DATA_KEY_BYTES or not 1 <= len(key.wrapped) <= MAX_WRAPPED_BYTES:
        sizes = f"{len(key.plaintext)} bytes wrapped in {len(key.wrapped)}"
        raise KeyReleaseError(f"the key service sent a data key of {sizes}")
    return key


def _ask(
    access: Access,
    recipient: Recipient,
    operation: str,
    key_arn: str,
    context: Mapping[str, str],
    **members: object,
) -> dict[str, Any]:
    if not KEY_ARN.fullmatch(key_arn):
        raise LocalProtocolError(f"{key_arn!r} is not a full key arn")
    members |= {
        "KeyId": key_arn,
        "EncryptionContext": dict(context),
        "Recipient": {
            "KeyEncryptionAlgorithm": "RSAES_OAEP_SHA_256",
            "AttestationDocument": recipient.document,
        },
    }
    failures = KeyReleaseError, KeyServiceBusyError
    return _call(failures, "the key service", access, "kms", operation, members)


def _open(reply: Mapping[str, Any], key_arn: str, recipient: Recipient) -> bytes:
    """The secret of a reply to a request with a Recipient; KeyReleaseError if there is none.

    1. No Plaintext but null or an empty one: a service that ignores Recipient is not trusted.
    2. The key is the one asked for, by full ARN.
    3. The envelope opens with the recipient's private key.
    """
    if reply.get("Plaintext"):  # 1
        raise KeyReleaseError("the key service sent a plaintext")
    if reply.get("KeyId") != key_arn:  # 2
        raise KeyReleaseError("the key service used another key")
    return unwrap(reply.get("CiphertextForRecipient", b""), recipient.private_key)  # 3


def get_object(access: Access, bucket: str, key: str) -> S3Object:
    """S3 GetObject; RemoteProtocolError if the object does not come."""
    members: dict[str, object] = {"Bucket": bucket, "Key": key}
    failures = RemoteProtocolError, RemoteProtocolError
    reply = _call(failures, f"object {key!r}", access, "s3", "get_object", members)
    return S3Object(key, reply["Body"], reply.get("ContentLength"))


def release_key(
    dial: Dial,
    settings: Settings,
    manifest: Manifest,
    recipient: Recipient,
    *,
    tls: ssl.SSLContext | None,
    patience: Patience | None = None,
) -> bytes:
    """The data key of a sealed model, as its manifest names it, from the region its key is in.

    A service that is away or busy is asked again, within the limits of `patience`; one that refuses
    is not. KeyReleaseError whenever the key does not come.
    """
    patience = patience or Patience()
    named = KEY_ARN.fullmatch(manifest.key_arn)
    if named is None:
        raise RemoteProtocolError(f"the manifest's key {manifest.key_arn!r} is not a full key arn")
    access = _access("kms", settings.kms_endpoint, named["region"], dial, settings, tls)
    ask = partial(
        decrypt_with_recipient,
        replace(access, timeout_s=patience.limits.attempt_seconds),
        recipient,
        manifest.key_arn,
        manifest.encryption_context,
        manifest.wrapped_key,
    )
    try:
        return patience.call(ask, KeyServiceBusyError)
    except UnavailableError as error:
        raise KeyServiceBusyError(f"the key service: {error}") from error


def fetch(dial: Dial, settings: Settings, name: str, *, tls: ssl.SSLContext | None) -> S3Object:
    """An object of the model's prefix."""
    key = f"{settings.prefix}/{name}" if settings.prefix else name
    access = _access("s3", settings.objects_endpoint, settings.region, dial, settings, tls)
    return get_object(access, settings.bucket, key)


def _access(
    service: str,
    url: str,
    region: str,
    dial: Dial,
    settings: Settings,
    tls: ssl.SSLContext | None,
) -> Access:
    """With TLS there is one endpoint: a certificate says no more than whose name a name is."""
    if not REGION.fullmatch(region):
        raise RemoteProtocolError(f"{region!r} is no region")
    if tls is not None and url != (known := f"https://{service}.{region}.amazonaws.com"):
        raise RemoteProtocolError(f"endpoint {url!r} of {service}, expected {known}")
    holder = settings.access_key_id, settings.secret_access_key, settings.session_token
    return Access(dial, url, region, Credentials(*holder), tls)


@lru_cache(maxsize=4)
def _client(service: str, access: Access) -> Any:
    """Making a client costs more than most calls: one is kept per service and caller."""
    from enclave.tee import aws_client  # botocore: a tenth of a second, so only when needed

    dial = partial(access.dial, PORTS[service])
    endpoint = aws_client.Endpoint(access.url, access.region, dial, access.tls, access.timeout_s)
    holder = access.credentials
    return aws_client.make(
        service,
        endpoint,
        holder.access_key_id,
        holder.secret_access_key,
        holder.session_token or None,
    )


def _call(
    failures: tuple[type[Exception], type[Exception]],
    what: str,
    access: Access,
    service: str,
    operation: str,
    members: Mapping[str, object],
) -> dict[str, Any]:
    """One operation, or one of `failures`: the second where the service may yet answer.

    Who reads a hostile reply promises no closed set of errors.
    """
    from botocore.exceptions import ClientError

    failure, busy = failures
    try:
        with _making:
            client = _client(service, access)
        reply: dict[str, Any] = getattr(client, operation)(**members)
    except ClientError as refusal:
        reason = str(refusal.response.get("Error", {}).get("Code", "an error without a code"))
        status = refusal.response.get("ResponseMetadata", {}).get("HTTPStatusCode", 0)
        if reason in THROTTLED or status == TOO_MANY_REQUESTS or status >= SERVER_ERROR:
            failure = busy
    except Exception as error:
        reason = f"{type(error).__name__}: {error}"
        # A wrong certificate stays wrong, and what is no HTTP is no outage.
        if isinstance(error, OSError) and not isinstance(error, ssl.SSLError):
            failure = busy
    else:
        return reply
    raise failure(f"{what}: {reason[:200]}")
