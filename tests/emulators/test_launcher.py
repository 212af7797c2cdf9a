"""The emulated launcher: which requests it takes, and that its tokens name it."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from datetime import UTC, datetime
from http.client import HTTPResponse
from pathlib import Path
from typing import Any

import pytest
from cryptography import x509

from bench.emulators import launcher
from bench.emulators.attestor import Attestor, Workload
from bench.emulators.launcher import Launcher, RefusedError, read_request
from bench.verify import confidential_space
from bench.verify.tokens import EMULATED_ISSUER, STS_AUDIENCE, Flavour

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
WORKLOAD = Workload(f"sha256:{'a5' * 32}")
NONCE = "n" * 43


@pytest.fixture(scope="module")
def attestor() -> Attestor:
    return Attestor.create(NOW)


@pytest.fixture(scope="module")
def served(attestor: Attestor, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    path = tmp_path_factory.mktemp("launcher") / "teeserver.sock"
    with launcher.serving(path, Launcher(attestor, WORKLOAD, now=lambda: NOW)) as ready:
        yield ready
    assert not path.exists()


def body(**changes: object) -> bytes:
    honest = {"audience": "verifier", "token_type": "PKI", "nonces": [NONCE]}
    return json.dumps({k: v for k, v in (honest | changes).items() if v is not None}).encode()


def raw(served: Path, request: bytes) -> tuple[int, bytes]:
    """One request as bytes; (status, body)."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(5)
        stream.connect(str(served))
        stream.sendall(request)
        response = HTTPResponse(stream)
        response.begin()
        return response.status, response.read()


def call(served: Path, method: str, path: str, content: bytes = b"") -> tuple[int, bytes]:
    head = f"{method} {path} HTTP/1.1\r\nHost: localhost\r\nContent-Length: {len(content)}\r\n\r\n"
    return raw(served, head.encode() + content)


# Tokens


def test_a_pki_token_is_authentic_under_a_root_that_names_itself_emulated(
    served: Path, attestor: Attestor
) -> None:
    status, data = call(served, "POST", "/v1/token", body())
    token = confidential_space.authenticate_pki(data, root=attestor.root, now=NOW)
    assert (status, token.audience, token.nonces) == (200, "verifier", (NONCE,))
    assert token.issuer == EMULATED_ISSUER
    root = x509.load_der_x509_certificate(attestor.root)
    assert "emulated" in root.subject.rfc4514_string()


def test_an_oidc_token_is_authentic_under_the_key_set(served: Path, attestor: Attestor) -> None:
    _, data = call(served, "POST", "/v1/token", body(token_type="OIDC", nonces=[NONCE, "m" * 8]))
    token = confidential_space.authenticate_oidc(data, key_set=attestor.key_set)
    assert token.nonces == (NONCE, "m" * 8)
    assert attestor.kid.startswith("emulated-")


def test_the_default_token_is_for_google_and_without_a_nonce(
    served: Path, attestor: Attestor
) -> None:
    status, data = call(served, "GET", "/v1/token")
    token = confidential_space.authenticate_oidc(data, key_set=attestor.key_set)
    assert (status, token.audience, token.nonces) == (200, STS_AUDIENCE, ())
    assert token.expires_at_s - token.issued_at_s == 3600


def test_one_connection_carries_several_requests(served: Path) -> None:
    head = b"GET /v1/token HTTP/1.1\r\nHost: localhost\r\n"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
        stream.settimeout(5)
        stream.connect(str(served))
        stream.sendall(head + b"\r\n" + head + b"Connection: close\r\n\r\n")
        received = b"".join(iter(lambda: stream.recv(65536), b""))
    assert received.count(b"HTTP/1.1 200 OK") == 2


# Rules


@pytest.mark.parametrize(
    "changes",
    [
        {"audience": "a"},
        {"audience": "a" * 512},
        {"nonces": ["n" * 8]},
        {"nonces": ["n" * 88]},
        {"nonces": ["n" * 8] * 6},
        {"nonces": []},
        {"nonces": None},
        {"token_type": "OIDC"},
    ],
    ids=lambda changes: str(changes)[:40],
)
def test_a_request_within_the_limits_is_taken(changes: dict[str, Any]) -> None:
    audience, nonces, flavour = read_request(body(**changes))
    assert audience == changes.get("audience", "verifier")
    assert list(nonces) == (changes.get("nonces", [NONCE]) or [])
    assert flavour is Flavour(changes.get("token_type", "PKI"))


@pytest.mark.parametrize(
    ("changes", "why"),
    [
        ({"audience": "a" * 513}, "audience"),
        ({"audience": "é" * 257}, "audience"),
        ({"audience": ""}, "audience"),
        ({"audience": None}, "audience"),
        ({"audience": ["verifier"]}, "audience"),
        ({"nonces": ["n" * 7]}, "8 to 88"),
        ({"nonces": ["n" * 89]}, "8 to 88"),
        ({"nonces": ["é" * 45]}, "8 to 88"),
        ({"nonces": ["n" * 8] * 7}, "nonces"),
        ({"nonces": NONCE}, "nonces"),
        ({"nonces": [1]}, "nonces"),
        ({"token_type": None}, "token_type is a required"),
        ({"token_type": ""}, "token_type is a required"),
        ({"token_type": "pki"}, "not emulated"),
        ({"token_type": "LIMITED_AWS"}, "not emulated"),
        ({"nonce": NONCE}, "unknown field"),
        ({"Audience": "other"}, "unknown field"),
        ({"token_type_options": {}}, "unknown field"),
    ],
    ids=lambda value: str(value)[:40],
)
def test_a_request_outside_the_rules_is_refused(changes: dict[str, Any], why: str) -> None:
    with pytest.raises(RefusedError, match=why) as caught:
        read_request(body(**changes))
    assert caught.value.status == 400


@pytest.mark.parametrize(
    "content",
    [b"", b"[]", b"null", b"{", body() + body(), body()[:-1] + b',"token_type":"OIDC"}', b"\xff"],
)
def test_a_body_that_is_not_one_object_is_refused(content: bytes) -> None:
    with pytest.raises(RefusedError, match="failed to parse"):
        read_request(content)


# HTTP


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("PUT", "/v1/token", 400),
        ("GET", "/", 404),
        ("GET", "/v1/token/", 404),
        ("POST", "/v2/token", 404),
        ("POST", "/v1/intel/token", 412),
        ("POST", "/v1/token", 400),
        ("DELETE", "/v1/token", 501),
    ],
)
def test_other_requests_get_their_status(served: Path, method: str, path: str, status: int) -> None:
    found, text = call(served, method, path, b"{}" if method != "GET" else b"")
    assert found == status
    assert not text.startswith(b"eyJ")  # no token


@pytest.mark.parametrize(
    ("headers", "status"),
    [
        (b"", 411),
        (b"Content-Length: -1\r\n", 411),
        (b"Content-Length: 9999999999\r\n", 411),
        (b"Content-Length: 16385\r\n", 413),
        (b"Content-Length: 2\r\nTransfer-Encoding: chunked\r\n", 411),
    ],
)
def test_a_body_without_a_bounded_length_is_refused(
    served: Path, headers: bytes, status: int
) -> None:
    assert raw(served, b"POST /v1/token HTTP/1.1\r\n" + headers + b"\r\n")[0] == status
