"""Who calls the key service: AWS Signature Version 4, and the HTTP around it."""

from __future__ import annotations

import http.client
import json
from datetime import timedelta
from hashlib import sha256
from typing import Any
from urllib.parse import urlsplit

import pytest
from botocore.auth import SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials
from botocore.exceptions import ClientError

from bench.emulators import keyring
from bench.emulators.aws_json import MAX_BODY_BYTES
from bench.emulators.keyring import OWNER
from tests.emulators.parties import Parties, now, refusal, serving

BODY = b'{"NumberOfBytes": 16}'


def test_wrong_secret_is_refused(parties: Parties, endpoint: str) -> None:
    forger = parties.client(endpoint, OWNER, aws_secret_access_key="x" * 40)
    code = refusal(forger.describe_key, KeyId=parties.arn)
    assert code == ("InvalidSignatureException", 403)


def test_unknown_access_key_is_refused(parties: Parties, endpoint: str) -> None:
    stranger = parties.client(endpoint, OWNER, aws_access_key_id="AKIA" + "0" * 16)
    code = refusal(stranger.describe_key, KeyId=parties.arn)
    assert code == ("UnrecognizedClientException", 403)


def test_signature_for_another_region_is_refused(parties: Parties, endpoint: str) -> None:
    client = parties.client(endpoint, OWNER, region_name="us-east-1")
    with pytest.raises(ClientError, match=r"InvalidSignatureException.*/local-1/kms"):
        client.describe_key(KeyId=parties.arn)


@pytest.mark.parametrize("minutes", [-6, 6])
def test_signature_of_another_time_is_refused(parties: Parties, minutes: int) -> None:
    with serving(parties, now=lambda: now() + timedelta(minutes=minutes)) as url:
        code = refusal(parties.client(url, OWNER).describe_key, KeyId=parties.arn)
    assert code == ("InvalidSignatureException", 403)


def tampering(request: Any, what: str) -> None:
    match what:
        case "body":
            request.body = request.body.replace(b"KeyId", b"keyId")
        case "target":
            request.headers["X-Amz-Target"] = "TrentService.GetKeyPolicy"
        case "unsigned header":
            request.headers["X-Amz-Security-Token"] = "token"


@pytest.mark.parametrize("what", ["body", "target", "unsigned header"])
def test_request_changed_after_signing_is_refused(
    parties: Parties, endpoint: str, what: str
) -> None:
    client = parties.client(endpoint, OWNER)
    client.meta.events.register("before-send.kms", lambda request, **_: tampering(request, what))
    code = refusal(client.describe_key, KeyId=parties.arn)
    assert code == ("InvalidSignatureException", 403)


def post(endpoint: str, body: bytes, **headers: str) -> tuple[int, dict[str, Any]]:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=10)
    connection.request("POST", "/", body, headers)
    response = connection.getresponse()
    answer = response.status, json.loads(response.read())
    connection.close()
    return answer


def signed(parties: Parties, endpoint: str, digest: str) -> dict[str, str]:
    """Headers of a well signed request that says its body has `digest`."""
    caller = keyring.load(parties.state).principal(OWNER)
    request = AWSRequest(
        "POST",
        endpoint + "/",
        {"X-Amz-Target": "TrentService.GenerateRandom", "X-Amz-Content-SHA256": digest},
        BODY,
    )
    held = Credentials(caller.access_key_id, caller.secret_access_key)
    SigV4Auth(held, "kms", keyring.REGION).add_auth(request)
    return dict(request.headers.items())


def test_payload_digest_has_to_be_that_of_the_body(parties: Parties, endpoint: str) -> None:
    assert post(endpoint, BODY, **signed(parties, endpoint, sha256(BODY).hexdigest()))[0] == 200
    for digest in ("UNSIGNED-PAYLOAD", sha256(b"{}").hexdigest()):
        status, reply = post(endpoint, BODY, **signed(parties, endpoint, digest))
        assert (status, reply["__type"]) == (403, "InvalidSignatureException")


def test_unsigned_request_is_refused(endpoint: str) -> None:
    status, reply = post(endpoint, b"{}", **{"X-Amz-Target": "TrentService.GenerateRandom"})
    assert (status, reply["__type"]) == (403, "MissingAuthenticationToken")


def test_oversize_body_is_refused_unread(endpoint: str) -> None:
    status, _ = post(endpoint, b"", **{"Content-Length": str(MAX_BODY_BYTES + 1)})
    assert status == 413


def test_connection_is_kept_for_more_requests(endpoint: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(endpoint).netloc, timeout=10)
    connection.connect()
    stream = connection.sock
    for _ in range(3):
        connection.request("POST", "/", b"{}")
        connection.getresponse().read()
        assert connection.sock is stream
    connection.close()
