"""Which names a host may choose for the services: with TLS none, and without it no odd ones."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.tee import aws, tls
from enclave.tee.aws import generate_data_key_with_recipient
from enclave.tee.cms import KeyReleaseError
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.settings import Settings
from tests.enclave import service
from tests.enclave.hosts import ARN, RECIPIENT, Host, access, http, json_reply
from tests.enclave.test_aws_data_key import reply
from tests.wire.sealing import MANIFEST

KEY_ARN = "arn:aws:kms:eu-central-1:000000000000:key/one"
KMS, S3 = "https://kms.eu-central-1.amazonaws.com", "https://s3.eu-central-1.amazonaws.com"


def chosen(**changes: Any) -> Settings:
    proper = {"kms_endpoint": KMS, "objects_endpoint": S3, "region": "eu-central-1"}
    return replace(service.settings(), **proper | changes)


def unlike(url: str) -> list[str]:
    """Addresses that someone could have a certificate of a public authority for."""
    name = url.removeprefix("https://")
    return [
        "https://kms.attacker.example",
        f"https://{name}.attacker.example",
        f"https://{name}@attacker.example",
        f"https://{name}/@attacker.example",
        f"https://{name}:8443",
        f"https://{name}.",
        f"https://{name}/",
        f"https://{name}?",
        f"https://{name}#",
        f"HTTPS://{name}",
        f"https://{name.upper()}",
        f"http://{name}",
        url.replace("eu-central-1", "eu-west-1"),
        url.replace(".eu-central-1", ""),
        url.replace("amazonaws.com", "amazonaws.com.cn"),
        "https://s3.eu-central-1.amazonaws.com" if "kms" in url else KMS,
        "https://vpce-1.kms.eu-central-1.vpce.amazonaws.com",
        f" {url}",
        f"{url}\n",
        "",
    ]


@pytest.mark.attack(33, 37)
@pytest.mark.parametrize("url", unlike(KMS))
def test_a_key_is_asked_for_at_the_service_of_its_own_region_alone(url: str) -> None:
    host = Host(b"")
    with pytest.raises(RemoteProtocolError, match=r"expected https://kms\.eu-central-1"):
        released(host, chosen(kms_endpoint=url))
    assert host.ports == []


def released(host: Host, settings: Settings, arn: str = KEY_ARN) -> bytes:
    manifest = replace(MANIFEST, key_arn=arn)
    return aws.release_key(host.dial, settings, manifest, RECIPIENT, tls=tls.context())


@pytest.mark.attack(33, 37)
@pytest.mark.parametrize("url", unlike(S3))
def test_an_object_is_asked_for_at_the_store_of_the_region_alone(url: str) -> None:
    host = Host(b"")
    with pytest.raises(RemoteProtocolError, match=r"expected https://s3\.eu-central-1"):
        aws.fetch(host.dial, chosen(objects_endpoint=url), "name", tls=tls.context())
    assert host.ports == []


@pytest.mark.attack(33)
def test_the_hosts_region_does_not_move_the_key() -> None:
    host = Host(b"")
    elsewhere = chosen(region="eu-west-1", kms_endpoint="https://kms.eu-west-1.amazonaws.com")
    with pytest.raises(RemoteProtocolError, match=r"expected https://kms\.eu-central-1"):
        released(host, elsewhere)
    assert host.ports == []


@pytest.mark.attack(37)
@pytest.mark.parametrize(
    "region",
    ["x.attacker.example/", "x@y", "x#", "x?", "", "EU", "e" * 33, "x\n", "é", "x:1", ".."],
)
def test_a_region_is_no_part_of_another_name(region: str) -> None:
    host = Host(b"")
    settings = chosen(region=region, objects_endpoint=f"https://s3.{region}.amazonaws.com")
    for trust in (tls.context(), None):
        with pytest.raises(RemoteProtocolError, match="is no region"):
            aws.fetch(host.dial, settings, "name", tls=trust)
    assert host.ports == []


@pytest.mark.attack(33)
def test_a_manifest_that_names_no_key_in_full_is_refused() -> None:
    for arn in ("alias/mine", KEY_ARN + "\n", KEY_ARN.replace("key/", "alias/"), "one"):
        with pytest.raises(RemoteProtocolError, match="not a full key arn"):
            released(Host(b""), chosen(), arn)


# Settings: whatever they are, what comes of them is one of the declared errors


TEXTS = st.text(max_size=40) | st.sampled_from(
    ["a\nb", "a\r\nX: y", "\x00", "é", "😀", "a b", "%2e%2e", "../..", "//", "?", "arn:aws:s3:::x"]
)
URLS = TEXTS | TEXTS.map(lambda text: f"http://{text}") | st.just("http://host")
REGIONS = TEXTS | st.from_regex(r"[a-z0-9-]{1,32}", fullmatch=True)


@pytest.mark.attack(40)
@settings(deadline=None, max_examples=150)
@given(
    endpoint=URLS,
    region=REGIONS,
    bucket=TEXTS,
    prefix=TEXTS,
    access_key_id=TEXTS,
    secret_access_key=TEXTS,
    session_token=TEXTS,
)
def test_no_settings_end_in_another_error(endpoint: str, **names: str) -> None:
    wanted = chosen(kms_endpoint=endpoint, objects_endpoint=endpoint, **names)
    with suppress(RemoteProtocolError):
        aws.fetch(Host(http("200 OK", b"")).dial, wanted, "name", tls=None)
    with suppress(RemoteProtocolError, KeyReleaseError):
        dial = Host(json_reply(KeyId=KEY_ARN)).dial
        aws.release_key(dial, wanted, replace(MANIFEST, key_arn=KEY_ARN), RECIPIENT, tls=None)


@pytest.mark.attack(23)
@pytest.mark.parametrize("name", ["session_token", "access_key_id"])
def test_a_credential_cannot_add_a_header(name: str) -> None:
    """Credentials are the host's, and go into a head that is signed beside others of ours."""
    held = replace(access(Host(b"")).credentials, **{name: "x\r\nX-Amz-Target: other"})
    host = Host(reply())
    with pytest.raises(KeyReleaseError, match="Invalid header value"):
        generate_data_key_with_recipient(
            replace(access(host), credentials=held), RECIPIENT, ARN, {}
        )
