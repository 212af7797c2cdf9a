"""The container launcher of GCP Confidential Space: HTTP on a Unix socket, tokens as text.

It is part of the measured machine image, so its answers are not checked further than to be tokens
of a plausible size. Whoever relies on a token verifies it; that is never we.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Sequence
from http.client import HTTPConnection, HTTPException, HTTPResponse
from pathlib import Path

from enclave.wire.errors import LocalProtocolError

SOCKET = Path("/run/container_launcher/teeserver.sock")
TOKEN_PATH = "/v1/token"
TOKEN_TYPES = ("PKI", "OIDC")

MAX_AUDIENCE_BYTES = 512
MAX_NONCES = 6
NONCE_BYTES = range(10, 74 + 1)  # its pages disagree (8 to 88, 10 to 74): both take these
MAX_TOKEN_BYTES = 32 * 1024
TIMEOUT_S = 20.0  # a token is fetched from the attestation service


class LauncherError(Exception):
    """The launcher did not give a token, and why."""


class Launcher:
    """A client of the launcher. A connection is made for each token: they last an hour."""

    def __init__(self, path: Path = SOCKET, *, timeout_s: float = TIMEOUT_S) -> None:
        self._path = path
        self._timeout_s = timeout_s

    def token(self, audience: str, nonces: Sequence[str], *, token_type: str = "PKI") -> bytes:
        """A token for `audience` that repeats `nonces`; by default one that carries its chain.

        LauncherError where none comes; LocalProtocolError for a request that would be refused.
        """
        _check_request(audience, nonces, token_type)
        request = {"audience": audience, "token_type": token_type, "nonces": list(nonces)}
        connection = _UnixConnection(self._path, self._timeout_s)
        try:
            headers = {"Content-Type": "application/json"}
            connection.request("POST", TOKEN_PATH, json.dumps(request).encode(), headers)
            return _read_token(connection.getresponse())
        except (OSError, HTTPException) as error:
            raise LauncherError(f"{type(error).__name__}: {error}"[:200]) from error
        finally:
            connection.close()


class _UnixConnection(HTTPConnection):
    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        self.sock.connect(str(self._path))


def _check_request(audience: str, nonces: Sequence[str], token_type: str) -> None:
    if token_type not in TOKEN_TYPES:
        raise LocalProtocolError(f"token type {token_type!r}, not one of {TOKEN_TYPES}")
    if not 0 < len(audience.encode()) <= MAX_AUDIENCE_BYTES:
        raise LocalProtocolError(f"an audience of {len(audience.encode())} bytes")
    sizes = [len(nonce.encode()) for nonce in nonces]
    if len(sizes) > MAX_NONCES or any(size not in NONCE_BYTES for size in sizes):
        raise LocalProtocolError(f"nonces of {sizes} bytes")


def _read_token(response: HTTPResponse) -> bytes:
    body = response.read(MAX_TOKEN_BYTES + 1)
    if response.status != 200:
        reason = body[:200].decode(errors="replace")
        raise LauncherError(f"the launcher answers {response.status}: {reason}")
    if response.length:  # what is still to come: a read with a limit does not mind
        raise LauncherError(f"the launcher's answer was cut off after {len(body)} bytes")
    token = body.strip()
    if len(body) > MAX_TOKEN_BYTES or token.count(b".") != 2 or not token.isascii():
        raise LauncherError(f"the launcher answers {len(body)} bytes that are no token")
    return token
