"""botocore clients whose bytes leave through a socket that is handed in, and in no other way.

Rule of the file: botocore shapes and signs requests and reads replies; it never opens a
connection. A hook before the send answers every request itself or fails, so there is no resolver,
proxy, metadata service, second endpoint or retry. Environment and configuration files, which
nobody has measured, are not consulted.

This module imports botocore (about 0.1 s): import it where it is first used.
"""

from __future__ import annotations

import http.client
import io
import os
import socket
import ssl
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

from botocore.awsrequest import AWSPreparedRequest, AWSResponse
from botocore.client import BaseClient
from botocore.config import Config
from botocore.loaders import JSONFileLoader, Loader
from botocore.session import Session

from enclave.wire.errors import RemoteProtocolError

SERVICES = ["kms", "s3"]
MAX_REPLY_BYTES = 256 * 1024  # of a head, and of a body that is read whole
LEAST_BYTES_PER_SECOND = 64 * 1024
# AF_VSOCK writes stay under 16 KiB, also when TLS has added a record's head and tag.
WRITE_BYTES = 15 * 1024

Clock = Callable[[], float]

CONFIG: dict[str, Any] = {
    "defaults_mode": "legacy",  # "auto" would ask the instance metadata service
    "request_checksum_calculation": "when_required",
    "response_checksum_validation": "when_required",  # the model's own AEAD covers every byte
    "retries": {"total_max_attempts": 1, "mode": "standard"},
    "proxies": {},
}
S3_CONFIG = CONFIG | {"signature_version": "s3v4", "s3": {"addressing_style": "path"}}

# Session variables that would lead to a file or a profile: no environment name, a fixed value.
CLOSED = {
    "profile": (None, None, None, None),
    "config_file": (None, None, os.devnull, None),
    "credentials_file": (None, None, os.devnull, None),
}


@dataclass(frozen=True, slots=True)
class Endpoint:
    """Where a service is reached: `url` names it, `dial` connects to it.

    The host chooses the URL. With `tls` it has to be https, and TLS ends here, under roots that
    the image carries; without it has to be http. Neither falls back to the other.
    """

    url: str
    region: str
    dial: Callable[[], socket.socket]
    tls: ssl.SSLContext | None
    timeout_s: float


def make(
    service: str, endpoint: Endpoint, access_key: str, secret_key: str, token: str | None
) -> BaseClient:
    """A client of "kms" or "s3" that speaks over `endpoint` alone.

    RemoteProtocolError for a URL whose scheme is not the one that this side expects.
    """
    scheme = "http" if endpoint.tls is None else "https"
    if urlsplit(endpoint.url).scheme != scheme:
        raise RemoteProtocolError(f"endpoint {endpoint.url!r} is not {scheme}")
    client: BaseClient = _session().create_client(
        service,
        region_name=endpoint.region,
        endpoint_url=endpoint.url,
        aws_access_key_id=access_key,
        aws_secret_access_key=secret_key,
        aws_session_token=token,
        config=Config(**(S3_CONFIG if service == "s3" else CONFIG)),
    )

    def before_send(request: AWSPreparedRequest, **_: object) -> AWSResponse:
        return _exchange(endpoint, request)

    events: Any = client.meta.events
    events.register_first("before-send", before_send)
    events.register_last("before-parameter-build.s3", _stay_in_region)
    return client


@cache
def _session() -> Session:
    """One for both clients: it holds botocore's parsed data, and no credentials."""
    session = Session(session_vars=CLOSED)
    session.register_component("data_loader", _Models())
    return session


def _stay_in_region(context: dict[str, Any], **_: object) -> None:
    """botocore asks again where a store names another region; it does so only once."""
    context["s3_redirect"]["redirected"] = True


def _exchange(endpoint: Endpoint, request: AWSPreparedRequest) -> AWSResponse:
    """One request and the head of its reply, over a connection of its own."""
    host = urlsplit(endpoint.url).netloc
    url = urlsplit(request.url)
    if url.netloc != host:  # a redirect to a region, bucket or account of the host's choosing
        raise RemoteProtocolError(f"a request for {url.netloc} on the channel to {host}")
    target = f"{url.path or '/'}?{url.query}" if url.query else url.path or "/"
    body: Any = request.body
    with ExitStack() as opened:
        channel = _Channel(opened.enter_context(_connect(endpoint)), endpoint.timeout_s)
        connection = _Connection(host)
        connection.sock = channel
        connection.request(request.method, target, body, {**request.headers, "Host": host})
        response = connection.getresponse()
        if response.length is not None:
            channel.incoming.limit = response.length
        opened.pop_all()  # from here on the response closes the channel
    headers: Any = response.headers
    return AWSResponse(request.url, response.status, headers, _Reply(response))


def _connect(endpoint: Endpoint) -> socket.socket:
    channel = endpoint.dial()
    try:
        channel.settimeout(endpoint.timeout_s)
        if endpoint.tls is None:
            return channel
        return endpoint.tls.wrap_socket(channel, server_hostname=urlsplit(endpoint.url).hostname)
    except BaseException:
        channel.close()
        raise


class _Connection(http.client.HTTPConnection):
    """HTTP over a channel that is already there."""

    auto_open = 0
    sock: Any


class _Channel:
    """What http.client uses of a socket. The response closes it, whose reader has the last byte."""

    def __init__(self, channel: socket.socket, seconds: float) -> None:
        self._channel = channel
        self.incoming = Incoming(channel, seconds)

    def sendall(self, data: Any) -> None:
        view = memoryview(data)
        for start in range(0, len(view), WRITE_BYTES):
            self._channel.sendall(view[start : start + WRITE_BYTES])

    def makefile(self, _: str) -> io.BufferedReader:
        return io.BufferedReader(self.incoming)

    def close(self) -> None:
        """http.client hangs up here when the server will."""


class Incoming(io.RawIOBase):
    """The bytes of one reply, in bounds: a host may be slow or endless, but not for ever.

    All waiting takes `seconds` at most, and one more for every 64 KiB that came. `limit` is how
    many bytes may still come: first for a head, or for head and body where no length is given.
    """

    limit = MAX_REPLY_BYTES

    def __init__(
        self, channel: socket.socket, seconds: float, clock: Clock = time.monotonic
    ) -> None:
        self._channel = channel
        self._seconds = seconds
        self._clock = clock

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if not self.limit:
            raise RemoteProtocolError(
                f"a reply without a length of more than {MAX_REPLY_BYTES} bytes"
            )
        if self._seconds <= 0:
            raise TimeoutError("timed out")
        self._channel.settimeout(self._seconds)
        began = self._clock()
        count = self._channel.recv_into(memoryview(buffer)[: self.limit])
        self._seconds += count / LEAST_BYTES_PER_SECOND - (self._clock() - began)
        self.limit -= count
        return count

    def close(self) -> None:
        self._channel.close()
        super().close()


class _Reply:
    """What botocore wants of a response body; `readinto` is the socket's, without a copy."""

    def __init__(self, response: http.client.HTTPResponse) -> None:
        self._response = response
        self.readinto = response.readinto
        self.close = response.close

    def stream(self) -> Iterator[bytes]:
        """The whole body of a short reply; RemoteProtocolError if it is not short."""
        with self._response:
            body = self._response.read(MAX_REPLY_BYTES + 1)
        if len(body) > MAX_REPLY_BYTES:
            raise RemoteProtocolError(f"a reply of more than {MAX_REPLY_BYTES} bytes")
        yield body


class _ModelFiles(JSONFileLoader):
    """botocore's data files, less the table of AWS's hosts: endpoints are always given."""

    def load_file(self, file_path: str) -> Any:
        if Path(file_path).name == "endpoints":
            return {"version": 3, "partitions": []}
        return super().load_file(file_path)


class _Models(Loader):
    """The two services, from botocore's own folder alone (never from ~/.aws/models)."""

    def __init__(self) -> None:
        super().__init__(
            extra_search_paths=[self.BUILTIN_DATA_PATH],
            file_loader=_ModelFiles(),
            include_default_search_paths=False,
        )

    def list_available_services(self, type_name: str) -> list[str]:
        return SERVICES
