"""A certificate authority of the tests' own, and HTTPS in front of an emulator."""

from __future__ import annotations

import http.client
import ssl
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat

HOUR = timedelta(hours=1)


class Authority:
    """A root, and the servers' certificates that it issues."""

    def __init__(self, name: str = "tests") -> None:
        self._key = ec.generate_private_key(ec.SECP256R1())
        self._name = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, name)])
        builder = self._builder(self._name, self._key.public_key(), datetime.now(UTC) + 24 * HOUR)
        root = builder.add_extension(x509.BasicConstraints(ca=True, path_length=0), critical=True)
        self.pem = root.sign(self._key, hashes.SHA256()).public_bytes(Encoding.PEM).decode()

    def server(
        self, folder: Path, host: str, *, ends: datetime | None = None, path: str = "server.pem"
    ) -> ssl.SSLContext:
        """A server's context for one host name, valid until `ends`."""
        key = ec.generate_private_key(ec.SECP256R1())
        subject = x509.Name([x509.NameAttribute(x509.NameOID.COMMON_NAME, "server")])
        names = x509.SubjectAlternativeName([x509.DNSName(host)])
        builder = self._builder(subject, key.public_key(), ends or datetime.now(UTC) + HOUR)
        certificate = builder.add_extension(names, critical=False).sign(self._key, hashes.SHA256())
        (folder / path).write_bytes(
            certificate.public_bytes(Encoding.PEM)
            + key.private_bytes(Encoding.PEM, PrivateFormat.PKCS8, NoEncryption())
        )
        context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
        context.load_cert_chain(folder / path)
        return context

    def _builder(
        self, subject: x509.Name, key: ec.EllipticCurvePublicKey, ends: datetime
    ) -> x509.CertificateBuilder:
        return (
            x509.CertificateBuilder()
            .subject_name(subject)
            .issuer_name(self._name)
            .public_key(key)
            .serial_number(x509.random_serial_number())
            .not_valid_before(ends - 48 * HOUR)
            .not_valid_after(ends)
        )


class Front(ThreadingHTTPServer):
    """TLS ends here; what comes is handed to `backend`, as it is, and so is what is answered."""

    daemon_threads = True

    def __init__(self, context: ssl.SSLContext, backend: str) -> None:
        super().__init__(("127.0.0.1", 0), Handler)
        self.backend = urlsplit(backend).netloc
        self._context = context

    def finish_request(self, request: Any, client_address: Any) -> None:
        """On the connection's own thread: a handshake that fails ends no other."""
        try:
            stream = self._context.wrap_socket(request, server_side=True)
        except OSError:
            return
        with stream:
            Handler(stream, client_address, self)


class Handler(BaseHTTPRequestHandler):
    """One request of a connection."""

    server: Front

    def forward(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length", "0")))
        backend = http.client.HTTPConnection(self.server.backend, timeout=10)
        backend.request(self.command, self.path, body, dict(self.headers.items()))
        answer = backend.getresponse()
        data = answer.read()
        self.send_response_only(answer.status)
        for name, value in answer.headers.items():
            self.send_header(name, value)
        self.end_headers()
        self.wfile.write(data)
        backend.close()

    do_GET = do_POST = forward  # noqa: N815

    def log_message(self, format: str, *args: object) -> None:  # noqa: A002
        """Nothing: the tests look at what comes back."""


@contextmanager
def front(context: ssl.SSLContext, backend: str) -> Iterator[tuple[str, int]]:
    """HTTPS before the HTTP server at the URL `backend`; yields its address."""
    with Front(context, backend) as server:
        thread = threading.Thread(target=server.serve_forever, args=(0.01,))
        thread.start()
        try:
            yield "127.0.0.1", server.server_port
        finally:
            server.shutdown()
            thread.join()
