"""AWS Signature Version 4, from the server's side.

Rule of the file: the signature is recomputed by botocore's own signer over what was received, so
that client and emulator cannot drift apart; what that signer takes on trust is checked first.
"""

from __future__ import annotations

import hmac
import re
import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from hashlib import sha256

from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

MAX_SKEW = timedelta(minutes=5)
AUTHORIZATION = re.compile(
    r"AWS4-HMAC-SHA256 Credential=([A-Za-z0-9]{16,128})/([0-9]{8})/([a-z0-9-]+)/([a-z0-9-]+)"
    r"/aws4_request, ?SignedHeaders=([a-z0-9;-]+), ?Signature=([0-9a-f]{64})"
)
MUST_BE_SIGNED = {"host", "x-amz-date"}


class SignatureError(Exception):
    """A request is not signed by a principal known here; `code` is the wire's name for it."""

    status = 403

    def __init__(self, code: str, message: str) -> None:
        self.code = code
        super().__init__(message)


@dataclass(frozen=True, slots=True)
class Principal:
    """Who holds an access key."""

    arn: str
    access_key_id: str
    secret_access_key: str = field(repr=False)


def new_principal(arn: str) -> Principal:
    """A principal with a fresh access key."""
    return Principal(arn, f"AKIA{secrets.token_hex(8).upper()}", secrets.token_urlsafe(30))


@dataclass(frozen=True, slots=True)
class Received:
    """A request as it came off the wire; header names in lower case."""

    method: str
    target: str
    headers: Mapping[str, str]
    body: bytes


def authenticate(
    request: Received,
    principals: Mapping[str, Principal],
    *,
    region: str,
    service: str,
    now: datetime,
) -> Principal:
    """The principal that signed the request; SignatureError otherwise.

    1. The header names algorithm, credential, signed headers and signature.
    2. The access key is known.
    3. Its scope is this region and service, and the day of the request's time.
    4. The request's time is within five minutes of `now`.
    5. Host, time and every x-amz header are among the signed.
    6. A payload digest in a header is that of the body.
    7. The signature is the one that the secret key gives.
    """
    header = request.headers.get("authorization")
    if header is None:
        raise SignatureError("MissingAuthenticationToken", "the request is not signed")
    match = AUTHORIZATION.fullmatch(header)  # 1
    if match is None:
        raise SignatureError("IncompleteSignature", "the authorization header is malformed")
    access_key, day, found_region, found_service, signed, signature = match.groups()
    principal = principals.get(access_key)
    if principal is None:  # 2
        raise SignatureError("UnrecognizedClientException", "the access key is not known")
    timestamp = request.headers.get("x-amz-date", "")
    if (day, found_region, found_service) != (timestamp[:8], region, service):  # 3
        raise _invalid(f"credential should be scoped to {timestamp[:8]}/{region}/{service}")
    if abs(_time(timestamp) - now) > MAX_SKEW:  # 4
        raise _invalid(f"signature of {timestamp} is outside five minutes of {now:%Y%m%dT%H%M%SZ}")
    names = set(signed.split(";"))
    unsigned = {name for name in request.headers if name.startswith("x-amz-")} | MUST_BE_SIGNED
    if not unsigned <= names or not names <= set(request.headers):  # 5
        raise _invalid("signed headers do not cover host, time and x-amz headers")
    digest = request.headers.get("x-amz-content-sha256")
    if digest is not None and digest != sha256(request.body).hexdigest():  # 6
        raise _invalid("payload digest is not that of the body")
    expected = _signature(request, names, principal, timestamp, region, service)
    if not hmac.compare_digest(expected, signature):  # 7
        raise _invalid("the signature does not match")
    return principal


def _signature(
    request: Received,
    names: set[str],
    principal: Principal,
    timestamp: str,
    region: str,
    service: str,
) -> str:
    signer = SigV4Auth(
        Credentials(principal.access_key_id, principal.secret_access_key), service, region
    )
    rebuilt = AWSRequest(
        method=request.method,
        url=f"http://{request.headers['host']}{request.target}",
        headers={name: request.headers[name] for name in names},
        data=request.body,
    )
    rebuilt.context["timestamp"] = timestamp
    canonical = signer.canonical_request(rebuilt)
    return str(signer.signature(signer.string_to_sign(rebuilt, canonical), rebuilt))


def _time(timestamp: str) -> datetime:
    try:
        return datetime.strptime(timestamp, "%Y%m%dT%H%M%SZ").replace(tzinfo=UTC)
    except ValueError:
        raise _invalid("the request has no time") from None


def _invalid(message: str) -> SignatureError:
    return SignatureError("InvalidSignatureException", message)
