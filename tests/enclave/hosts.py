"""A host that answers an enclave's calls as it likes, and notes what it was asked."""

from __future__ import annotations

import json
import socket
import ssl
import threading
from base64 import b64encode
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from bench.emulators import keyring
from bench.emulators.cms import wrap
from bench.emulators.keyring import INSTANCE, REGION
from enclave.tee.aws import Access, Credentials, Recipient, decrypt_with_recipient
from tests.emulators.parties import PRIVATE_KEY, Parties

ARN = "arn:aws:kms:local-1:000000000000:key/0b0bb1e0-0000-4000-8000-000000000000"
DATA_KEY = bytes(range(32))
HELD = Credentials("AKIA0000000000000000", "secret")
RECIPIENT = Recipient(b"document" * 3000, PRIVATE_KEY)
URL = "http://kms.emulated"

Dial = Callable[[int], socket.socket]


def hybrid(folder: Path) -> Dial:
    """Dial as an enclave does: a Unix socket named after the parent's port."""

    def dial(port: int) -> socket.socket:
        stream = socket.socket(socket.AF_UNIX)
        stream.connect(str(folder / f"v.sock_{port}"))
        return stream

    return dial


def address(url: str) -> tuple[str, int]:
    parts = urlsplit(url)
    return parts.hostname or "", parts.port or 0


def credentials(parties: Parties) -> Credentials:
    principal = keyring.load(parties.state).principal(INSTANCE)
    return Credentials(principal.access_key_id, principal.secret_access_key)


def caller(parties: Parties, url: str, dial: Dial) -> Access:
    return Access(dial, url, REGION, credentials(parties), tls=None)


def attested(document: bytes) -> Recipient:
    return Recipient(document, PRIVATE_KEY)


class Host:
    """Answers every dialled channel with the same bytes; counts the channels."""

    def __init__(self, answer: bytes, tls: ssl.SSLContext | None = None) -> None:
        self._answer = answer
        self._tls = tls
        self.ports: list[int] = []
        self.writes: list[int] = []

    def dial(self, port: int) -> socket.socket:
        self.ports.append(port)
        near, far = socket.socketpair()
        threading.Thread(target=self._serve, args=(far,), daemon=True).start()
        return Recorder(near, self.writes)

    def _serve(self, stream: socket.socket) -> None:
        try:
            if self._tls is not None:
                stream = self._tls.wrap_socket(stream, server_side=True)
            with stream, stream.makefile("rb") as lines:
                length = 0
                while (line := lines.readline().lower()) not in (b"\r\n", b""):
                    if line.startswith(b"content-length:"):
                        length = int(line.split(b":")[1])
                lines.read(length)
                stream.sendall(self._answer)
        except OSError:  # the enclave hung up, as some tests want it to
            stream.close()


class Recorder(socket.socket):
    """A socket that notes how much is written at a time."""

    def __init__(self, stream: socket.socket, writes: list[int]) -> None:
        super().__init__(stream.family, stream.type, stream.proto, fileno=stream.detach())
        self.writes = writes

    def sendall(self, data: Any, flags: int = 0) -> None:
        self.writes.append(len(data))
        super().sendall(data, flags)


def http(status: str, body: bytes, *headers: str) -> bytes:
    head = [f"HTTP/1.1 {status}", f"Content-Length: {len(body)}", *headers, "", ""]
    return "\r\n".join(head).encode() + body


def json_reply(**members: object) -> bytes:
    return http("200 OK", json.dumps(members).encode())


def envelope(secret: bytes = DATA_KEY) -> str:
    blob = wrap(secret, PRIVATE_KEY.public_key(), content_key=bytes(32), iv=bytes(16))
    return b64encode(blob).decode()


def access(host: Host, *, url: str = URL, tls: ssl.SSLContext | None = None) -> Access:
    return Access(host.dial, url, REGION, HELD, tls)


def release(host: Host, *, url: str = URL, tls: ssl.SSLContext | None = None) -> bytes:
    return decrypt_with_recipient(access(host, url=url, tls=tls), RECIPIENT, ARN, {}, b"blob")
