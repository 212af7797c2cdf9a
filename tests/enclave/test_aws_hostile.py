"""What a host could answer on the way to keys and objects: anything, without an end, or hardly."""

from __future__ import annotations

import itertools
import json
import socket
import threading
from concurrent.futures import ThreadPoolExecutor

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from enclave.tee.aws import generate_data_key_with_recipient, get_object
from enclave.tee.aws_client import MAX_REPLY_BYTES, Incoming
from enclave.tee.cms import KeyReleaseError
from enclave.wire.errors import RemoteProtocolError
from tests.enclave.hosts import ARN, DATA_KEY, RECIPIENT, Host, access, http, release
from tests.enclave.test_aws_data_key import reply

# Of any form


@pytest.mark.attack(10)
@pytest.mark.parametrize(
    "body",
    [
        b"[]",
        b"1",
        b"null",
        b'"text"',
        b"{",
        b"",
        b"\xff\xfe",
        b"[" * 100_000,
        b'{"a":' * 50_000,
        json.dumps({"KeyId": 5, "CiphertextForRecipient": "AAAA"}).encode(),
        json.dumps({"KeyId": ARN, "CiphertextForRecipient": 5}).encode(),
        json.dumps({"KeyId": ARN, "CiphertextForRecipient": ["AAAA"]}).encode(),
        json.dumps({"KeyId": ARN, "CiphertextForRecipient": "!"}).encode(),
        json.dumps({"KeyId": ARN, "CiphertextForRecipient": "AAAA", "Plaintext": 1}).encode(),
        json.dumps({"KeyId": ARN, "CiphertextForRecipient": "AAAA", "Plaintext": {}}).encode(),
    ],
    ids=lambda body: repr(body[:20]),
)
@pytest.mark.parametrize("status", ["200 OK", "400 Bad Request", "500 Internal Server Error"])
def test_no_body_ends_in_another_error(status: str, body: bytes) -> None:
    with pytest.raises(KeyReleaseError):
        release(Host(http(status, body)))


HEADS = [
    b"",
    b"\r\n\r\n",
    b"HTTP/0.9 200 OK\r\n\r\n",
    b"HTTP/2.0 200 OK\r\n\r\n",
    b"HTTP/1.1 99999 OK\r\n\r\n",
    b"HTTP/1.1 abc OK\r\n\r\n",
    b"HTTP/1.1\r\n\r\n",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
    b"HTTP/1.1 200 OK\r\n" + b"A: b\r\n" * 1000 + b"\r\n",
    b"HTTP/1.1 200 OK\r\nA: " + b"b" * 100_000 + b"\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: abc\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\nContent-Length: -1\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 1e3\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 200\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nxx",
    b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffff\r\nxx",
    b"HTTP/1.1 204 No Content\r\nContent-Length: 2\r\n\r\nxx",
    b"HTTP/1.1 101 Switching Protocols\r\n\r\n",
    b"HTTP/1.1 301 Moved\r\nLocation: http://elsewhere/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 302 Found\r\nLocation: //elsewhere/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 307 Temporary Redirect\r\nLocation: /elsewhere\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 308 Permanent Redirect\r\nLocation: http://x/\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Basic\r\nContent-Length: 0\r\n\r\n",
    b"HTTP/1.1 407 Proxy Authentication Required\r\nContent-Length: 0\r\n\r\n",
]


@pytest.mark.attack(33)
@pytest.mark.parametrize("head", HEADS, ids=lambda head: repr(head[9:40]))
def test_no_head_ends_in_another_error_or_a_second_connection(head: bytes) -> None:
    host = Host(head)
    with pytest.raises(KeyReleaseError):
        release(host)
    store = Host(head)
    with pytest.raises(RemoteProtocolError):
        read_whole(store)
    assert len(host.ports) == len(store.ports) == 1


def read_whole(host: Host) -> bytes:
    """As boot reads an object: of the length that is said, 1 KiB at most."""
    stream = get_object(access(host, url="http://s3.emulated"), "bucket", "key")
    if stream.length > 1024:
        stream.close()
        raise RemoteProtocolError("too long")
    data = bytearray(stream.length)
    done = 0
    while done < stream.length:
        done += stream.readinto(memoryview(data)[done:])
    if len(data) != 200:
        stream.close()
        raise RemoteProtocolError("not what was sealed")
    return bytes(data)


@settings(deadline=None, max_examples=150)
@given(answer=st.binary(max_size=200) | st.binary(max_size=100).map(lambda b: http("200 OK", b)))
def test_no_bytes_end_in_another_error(answer: bytes) -> None:
    with pytest.raises(KeyReleaseError):
        release(Host(answer))


@pytest.mark.attack(9)
def test_an_error_that_explodes_costs_nothing() -> None:
    """A hundred million characters, had the entities been expanded."""
    names = "abcdefgh"
    entities = ['<!ENTITY a "xxxxxxxxxx">']
    entities += [
        f'<!ENTITY {name} "{f"&{before};" * 10}">' for before, name in itertools.pairwise(names)
    ]
    head = f"<?xml version='1.0'?><!DOCTYPE Error [{''.join(entities)}]>"
    body = f"{head}<Error><Code>&h;</Code></Error>"
    with pytest.raises(RemoteProtocolError) as caught:
        get_object(
            access(Host(http("400 Bad", body.encode())), url="http://s3.emulated"), "bucket", "key"
        )
    assert len(str(caught.value)) < 300


# Without an end, or hardly beginning


class Endless(Host):
    """Says `first`, and then `again` for as long as anyone listens; counts what was taken."""

    def __init__(self, first: bytes, again: bytes) -> None:
        super().__init__(first)
        self._again = again
        self.sent = 0
        self.done = threading.Event()

    def _serve(self, stream: socket.socket) -> None:
        with stream:
            try:
                stream.sendall(self._answer)
                while True:
                    self.sent += stream.send(self._again)
            except OSError:
                self.done.set()


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.attack(27)
@pytest.mark.parametrize(
    ("first", "again"),
    [
        (b"HTTP/1.1 200 OK\r\nA: ", b"b" * 1000),
        (b"HTTP/1.1 200 OK\r\n", b"A: b\r\n"),
        (b"", b"HTTP/1.1 100 Continue\r\n\r\n"),
        (b"HTTP/1.1 200 OK\r\n\r\n", b"x" * 1000),
        (b"HTTP/1.1 200 OK\r\nContent-Length: 99999999999999\r\n\r\n", b"x" * 1000),
        (CHUNKED, b"1\r\nx\r\n"),
        (CHUNKED + b"1;", b"x" * 1000),
        (CHUNKED + b"0\r\n", b"A: b\r\n"),
    ],
    ids=["line", "lines", "continue", "no length", "length", "chunks", "chunk", "trailer"],
)
def test_a_reply_without_an_end_is_given_up_on(first: bytes, again: bytes) -> None:
    host = Endless(first, again)
    with pytest.raises(KeyReleaseError):
        release(host)
    assert host.done.wait(10), "the channel is still open"
    assert host.sent < 8 * MAX_REPLY_BYTES  # read, and what lay in the socket's own buffers


@pytest.mark.attack(27)
def test_an_object_in_chunks_is_not_read_for_ever() -> None:
    head = b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n"
    host = Endless(head, b"A: b\r\n")
    with pytest.raises(RemoteProtocolError):
        read_whole(host)
    assert host.done.wait(10), "the channel is still open"


class Dripping:
    """A channel on which bytes come every `every_s` seconds of its own clock."""

    def __init__(self, every_s: float, count: int = 1, *, punctual: bool = True) -> None:
        self.now = 0.0
        self.patience: list[float] = []
        self._every_s, self._count, self._punctual = every_s, count, punctual

    def clock(self) -> float:
        return self.now

    def settimeout(self, seconds: float) -> None:
        self.patience.append(seconds)

    def recv_into(self, buffer: memoryview) -> int:
        if self._punctual and self._every_s > self.patience[-1]:
            self.now += self.patience[-1]
            raise TimeoutError("timed out")
        self.now += self._every_s
        return min(self._count, len(buffer))


def waited(channel: Dripping, bytes_wanted: int, seconds: float = 20.0) -> int:
    """How many bytes came before it was given up."""
    incoming = Incoming(channel, seconds, channel.clock)  # type: ignore[arg-type]
    buffer, came = bytearray(64 * 1024), 0
    while came < bytes_wanted:
        try:
            came += incoming.readinto(buffer)
        except TimeoutError:
            break
    return came


@pytest.mark.attack(27)
def test_a_byte_now_and_then_prolongs_nothing() -> None:
    channel = Dripping(every_s=1.5)
    assert waited(channel, 1000) == 13
    assert channel.now == pytest.approx(20, abs=0.01)
    assert channel.patience == sorted(channel.patience, reverse=True)


@pytest.mark.attack(27)
def test_a_byte_that_comes_too_late_is_the_last() -> None:
    """A kernel may wake who waits after his time, with data at hand."""
    assert waited(Dripping(every_s=30, punctual=False), 1000) == 1


@pytest.mark.attack(27)
def test_a_steady_reply_is_waited_for() -> None:
    """64 KiB a second and more: as slow as that, whatever the length."""
    channel = Dripping(every_s=0.9, count=64 * 1024)
    assert waited(channel, MAX_REPLY_BYTES) == MAX_REPLY_BYTES
    assert channel.patience[-1] > channel.patience[0]


@pytest.mark.attack(27)
def test_time_that_nobody_waits_is_not_counted() -> None:
    """Who reads may do something else in between, such as opening what came."""
    channel = Dripping(every_s=0.5)
    incoming = Incoming(channel, 20.0, channel.clock)  # type: ignore[arg-type]
    for _ in range(10):
        incoming.readinto(bytearray(1))
        channel.now += 1000
    assert channel.patience[-1] > 15


# Several at a time


def test_callers_may_come_together() -> None:
    """Boot asks for a key and an object at once; botocore's clients are made one by one."""
    hosts = [Host(reply()) for _ in range(8)]

    def ask(host: Host) -> bytes:
        return generate_data_key_with_recipient(access(host), RECIPIENT, ARN, {}).plaintext

    with ThreadPoolExecutor(8) as pool:
        assert list(pool.map(ask, hosts)) == [DATA_KEY] * 8
