"""An emulated Confidential Space launcher: HTTP on a Unix socket, as a container is given it.

    GET  /v1/token         the default token: OIDC, for Google's STS, without a nonce
    POST /v1/token         {"audience", "token_type", "nonces"}: a token for that party

Requests are read more strictly than the launcher reads them (repeated keys, trailing bytes), never
less. Errors are text with the launcher's status codes; so is its odd Content-Type.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import datetime
from http.server import BaseHTTPRequestHandler
from pathlib import Path
from socketserver import ThreadingMixIn, UnixStreamServer

from bench.emulators.attestor import Attestor, Workload
from bench.verify import jwt
from bench.verify.claims import MAX_NONCES, Members
from bench.verify.tokens import MAX_AUDIENCE_BYTES, STS_AUDIENCE, Flavour
from enclave.wire.errors import VerificationError

TOKEN_PATH, INTEL_PATH = "/v1/token", "/v1/intel/token"
CONTENT_TYPE = "text/html"
MAX_BODY_BYTES = 16 * 1024
NONCE_BYTES = range(8, 88 + 1)
FIELDS = frozenset({"audience", "token_type", "nonces"})
IDLE_SECONDS = 10


class RefusedError(Exception):
    """The launcher does not answer such a request."""

    def __init__(self, message: str, status: int = 400) -> None:
        self.status = status
        super().__init__(message)


class Launcher:
    """Answers requests with tokens about one workload."""

    def __init__(
        self, attestor: Attestor, workload: Workload, *, now: Callable[[], datetime]
    ) -> None:
        self._attestor = attestor
        self._workload = workload
        self._now = now

    def answer(self, method: str, path: str, body: bytes) -> bytes:
        """A token; RefusedError says why there is none."""
        if path == INTEL_PATH:
            raise RefusedError("no ITA verifier client here", 412)
        if path != TOKEN_PATH:
            raise RefusedError("404 page not found", 404)
        match method:
            case "GET":
                return self._token(STS_AUDIENCE, (), Flavour.OIDC)
            case "POST":
                return self._token(*read_request(body))
        raise RefusedError(f"invalid HTTP method: {method}")

    def _token(self, audience: str, nonces: tuple[str, ...], flavour: Flavour) -> bytes:
        claims = self._workload.claims(self._now(), audience, nonces)
        return self._attestor.sign(claims, flavour)


def read_request(body: bytes) -> tuple[str, tuple[str, ...], Flavour]:
    """(audience, nonces, flavour); RefusedError otherwise.

    1. one JSON object, and no field that is not known
    2. a token type, of the two that can be made here
    3. an audience of 1 to 512 bytes
    4. at most six nonces, of 8 to 88 bytes each
    """
    try:
        values = jwt.read_object(body, "body")  # 1
        if unknown := values.keys() - FIELDS:
            raise RefusedError(f"unknown field {sorted(unknown)[0]!r:.80}")
        members = Members(values)
        token_type = members.optional_text("token_type")
        audience = members.optional_text("audience") or ""
        nonces = members.texts("nonces", MAX_NONCES)
    except VerificationError as error:
        raise RefusedError(f"failed to parse the body as token options: {error}") from None
    if not token_type:  # 2
        raise RefusedError("token_type is a required parameter")
    if token_type not in {flavour.value for flavour in Flavour}:
        raise RefusedError(f"token type {token_type[:40]!r} is not emulated")
    if not 0 < len(audience.encode()) <= MAX_AUDIENCE_BYTES:  # 3
        raise RefusedError(f"the audience must have 1 to {MAX_AUDIENCE_BYTES} bytes")
    if any(len(nonce.encode()) not in NONCE_BYTES for nonce in nonces):  # 4
        raise RefusedError("a nonce must have 8 to 88 bytes")
    return audience, nonces, Flavour(token_type)


class Server(ThreadingMixIn, UnixStreamServer):
    """Serves one launcher on a Unix socket, a thread per connection."""

    daemon_threads = True
    request_queue_size = 32

    def __init__(self, path: Path, launcher: Launcher) -> None:
        self.launcher = launcher
        super().__init__(str(path), Handler)


class Handler(BaseHTTPRequestHandler):
    """One connection, kept alive between requests."""

    protocol_version = "HTTP/1.1"
    timeout = IDLE_SECONDS
    wbufsize = 64 * 1024
    server: Server

    def do_GET(self) -> None:
        self._serve(b"")

    def do_POST(self) -> None:
        length = self.headers.get("content-length", "")
        if not length.isdecimal() or len(length) > 9 or "transfer-encoding" in self.headers:
            return self._refuse(411, "length required")
        if int(length) > MAX_BODY_BYTES:
            return self._refuse(413, "request body too large")
        self._serve(self.rfile.read(int(length)))

    def do_PUT(self) -> None:
        self.do_POST()  # refused by its name, as the launcher does

    def _serve(self, body: bytes) -> None:
        try:
            self._reply(200, self.server.launcher.answer(self.command, self.path, body))
        except RefusedError as error:
            self._reply(error.status, str(error).encode())

    def _refuse(self, status: int, message: str) -> None:
        """Where the next request would begin is not known: the connection ends."""
        self.close_connection = True
        self._reply(status, message.encode())

    def _reply(self, status: int, body: bytes) -> None:
        self.send_response(status)
        self.send_header("Content-Type", CONTENT_TYPE)
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing goes to stderr."""


@contextmanager
def serving(path: Path, launcher: Launcher) -> Iterator[Path]:
    """Serve on a Unix socket at `path`, in a thread, until the context is left."""
    with Server(path, launcher) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True)
        thread.start()
        try:
            yield path
        finally:
            server.shutdown()
            thread.join()
            path.unlink()
