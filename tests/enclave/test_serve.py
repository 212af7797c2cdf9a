"""The service under load and under peers who mean it no good."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import Any, cast

import pytest

from bench.client.channel import TimedChannel
from bench.client.session import open_session
from enclave import conversation, serve
from enclave.tee import ECHO_PORT, SERVICE_PORT
from enclave.wire import cbor
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import HEADER, VERSION, Channel, Type
from enclave.wire.messages import MAX_TEXT_BYTES, ClientHello
from tests.enclave.service import SECONDS, Counting, Hand, Running, now, serving, until

HELLO = ClientHello(bytes(32)).encode()
ALERT = HEADER.pack(VERSION, Type.ALERT, 0)


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path, sessions=2, half_open=3, idle_seconds=60) as started:
        yield started


def rest(stream: socket.socket) -> bytes:
    """All that comes until the end, which is none where the stream is reset."""
    stream.settimeout(SECONDS)
    data = b""
    while part := stream.recv(65536):
        data += part
    return data


def hello(stream: socket.socket) -> Channel:
    channel = Channel(stream)
    channel.send(Type.CLIENT_HELLO, HELLO)
    return channel


@pytest.mark.attack(28)
def test_one_session_too_many_is_refused_and_a_freed_one_is_not(running: Running) -> None:
    with ExitStack() as stack:
        sessions = [stack.enter_context(running.session()) for _ in range(2)]
        attested = running.tee.attested
        with pytest.raises(RemoteProtocolError, match="alert"), running.session():
            pass
        assert running.tee.attested == attested, "the refusal cost a document"
        sessions[0].close()
        until(lambda: running.service.sessions.taken == 1)
        assert running.answers()


@pytest.mark.attack(28)
def test_a_peer_that_hangs_up_frees_its_session(running: Running) -> None:
    for _ in range(3):
        with running.session(), running.session():
            pass
        running.settle()
    assert running.answers()


@pytest.mark.attack(28)
def test_an_idle_session_expires_and_its_place_is_free(tmp_path: Path) -> None:
    with serving(tmp_path, sessions=1, idle_seconds=1) as running, running.session() as session:
        with pytest.raises(RemoteProtocolError), running.session():
            pass
        until(lambda: running.service.sessions.taken == 0)
        assert running.answers()
        with pytest.raises((RemoteProtocolError, OSError)):
            session.request(("too late",))


@pytest.mark.attack(28)
def test_a_busy_session_expires_too_and_its_place_is_free(tmp_path: Path) -> None:
    clock = Hand()
    with serving(tmp_path, clock, sessions=1, session_seconds=60) as running:
        with running.session() as session:
            session.request(("its time has begun",))
            for _ in range(6):
                clock.now += 9.9
                session.request(("in time",))
            clock.now += 9.9
            with pytest.raises(RemoteProtocolError, match="alert"):
                session.request(("a second too late",))
        running.settle()
        assert running.answers()


@pytest.mark.attack(28)
def test_half_open_connections_have_places_of_their_own(running: Running) -> None:
    with ExitStack() as stack:
        session = stack.enter_context(running.session())
        for _ in range(3):
            channel = hello(stack.enter_context(running.connect()))
            channel.receive(Type.SERVER_HELLO)
        attested = running.tee.attested
        assert rest(stack.enter_context(running.connect())) == ALERT
        assert running.tee.attested == attested
        assert running.service.sessions.taken == 1, "a half-open connection took a session"
        session.check(session.request(("an open session goes on",)))
    running.settle()
    assert running.answers()


@pytest.mark.attack(27, 28)
def test_a_byte_every_nine_seconds_holds_no_place(tmp_path: Path) -> None:
    clock = Hand()
    with serving(tmp_path, clock, half_open=1) as running, running.connect() as slow:
        until(lambda: running.service.half_open.taken == 1)
        with suppress(BrokenPipeError):  # the service may be done with it before the last byte
            for byte in HEADER.pack(VERSION, Type.CLIENT_HELLO, len(HELLO))[:4]:
                slow.sendall(bytes([byte]))
                clock.now += 9
        assert rest(slow) == ALERT
        until(lambda: running.service.half_open.taken == 0)
        assert running.answers()


@pytest.mark.attack(27)
def test_an_unfinished_handshake_ends_with_its_deadline(tmp_path: Path) -> None:
    with serving(tmp_path, handshake_seconds=1, half_open=1) as running:
        with running.connect() as silent:
            hello(silent).receive(Type.SERVER_HELLO)
            assert rest(silent) == ALERT
        until(lambda: running.service.half_open.taken == 0)
        assert running.answers()


@pytest.mark.attack(45)
@pytest.mark.parametrize(
    "data",
    [
        b"GET / HTTP/1.1\r\nHost: x\r\n\r\n",
        HEADER.pack(2, Type.CLIENT_HELLO, 4),
        HEADER.pack(VERSION, Type.CLIENT_HELLO, 2**31),
        HEADER.pack(VERSION, Type.CLIENT_HELLO, 4) + b"\x00\x01\x02\x03",
        HEADER.pack(VERSION, Type.REQUEST, 4) + b"\x00\x01\x02\x03",
        HEADER.pack(VERSION, Type.READY, 0),
        HEADER.pack(VERSION, 200, 0),
        HEADER.pack(VERSION, 200, 100_000) + bytes(100_000),
    ],
    ids=["http", "version", "2 GiB", "no cbor", "request", "ready", "unknown", "a body behind"],
)
def test_every_failure_looks_the_same(running: Running, data: bytes) -> None:
    attested = running.tee.attested
    with running.connect() as stream:
        stream.sendall(data)
        assert rest(stream) == ALERT
    assert running.tee.attested == attested
    assert running.answers()


@pytest.mark.attack(45)
@pytest.mark.parametrize("finish", [b"", bytes(31), bytes(32), b"\x09" + bytes(33)])
def test_a_finish_without_a_key_looks_the_same(running: Running, finish: bytes) -> None:
    with running.connect() as stream:
        channel = hello(stream)
        channel.receive(Type.SERVER_HELLO)
        channel.send(Type.CLIENT_FINISH, finish)
        assert rest(stream) == ALERT


def test_a_text_over_the_limit_never_reaches_the_tokenizer(running: Running) -> None:
    running.engine.fault = AssertionError("it was tokenized")
    with running.session() as session, pytest.raises(RemoteProtocolError, match="alert"):
        session.request(("x" * (MAX_TEXT_BYTES + 1),))


@pytest.mark.attack(45, 46)
def test_an_unexpected_error_says_nothing_of_the_request_and_ends_nothing_else(
    running: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    with running.session() as other:
        running.engine.fault = ValueError("secret text of a client")
        with running.session() as session, pytest.raises(RemoteProtocolError, match="alert"):
            session.request(("secret text of a client",))
        running.engine.fault = None
        other.check(other.request(("go on",)))
    said = capfd.readouterr()
    assert "secret" not in said.out + said.err
    assert "error: unexpected ValueError at service.py:" in said.err
    running.settle()
    assert running.answers()


@pytest.mark.attack(28)
def test_no_thread_to_be_had_refuses_one_connection(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    start = threading.Thread.start

    def cannot(thread: threading.Thread) -> None:
        if thread._target is serve._handle:  # type: ignore[attr-defined]
            raise RuntimeError("can't start new thread")
        start(thread)

    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", cannot)
        with running.connect() as stream:
            assert rest(stream) == ALERT
    running.settle()
    assert running.answers()


def test_a_connection_that_breaks_while_accepted_ends_nothing_else(running: Running) -> None:
    for _ in range(20):
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as stream:
            stream.connect(str(running.tee.path))
            stream.sendall(b"CONNECT %d\n" % SERVICE_PORT)
    running.settle()
    assert running.answers()


def test_echoes_come_back_and_are_few(running: Running) -> None:
    with ExitStack() as stack:
        for _ in range(8):
            channel = Channel(stack.enter_context(running.connect(ECHO_PORT)))
            channel.send(Type.ECHO, bytes(100_000))
            assert channel.receive(Type.ECHO).body == bytes(100_000)
        assert rest(stack.enter_context(running.connect(ECHO_PORT))) == ALERT
        assert running.answers()


@pytest.mark.attack(44)
def test_answers_have_the_sizes_of_buckets(tmp_path: Path) -> None:
    with serving(tmp_path, response_bucket_bytes=4096) as running, running.connect() as stream:
        counting = Counting(stream)
        session = open_session(TimedChannel(cast(Any, counting)), running.expected, now())
        for count in (1, 10, 30):
            counting.sizes.clear()
            answer = session.request(["text"] * count)
            session.check(answer)
            assert answer.output.shape == (count, 4)
            assert sum(counting.sizes) == HEADER.size + 4096 + 16


def test_a_session_that_never_asks_for_a_report_does_not_grow(
    running: Running, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(conversation, "MAX_TIMED", 5)
    with running.session() as session:
        for _ in range(12):
            session.request(("text",))
        _, statement = session.collect()
    body = cast(Any, cbor.decode(statement.body))
    assert statement.receipts == 12
    assert {len(times) for times in body["requests_ns"].values()} == {2}


def test_a_statement_says_what_the_handshake_took(running: Running) -> None:
    with running.session() as session:
        body = cast(Any, cbor.decode(session.collect()[1].body))
    assert sorted(body["session_ns"]) == ["attested", "keyed"]
    assert all(elapsed_ns > 0 for elapsed_ns in body["session_ns"].values())
