"""The emulated security module behind a socket, as an enclave on the local platform has it."""

from __future__ import annotations

import socket
import struct
import threading
from collections.abc import Iterator
from datetime import UTC, datetime

import cbor2
import pytest

from bench.emulators import nsm, pki
from bench.emulators.nsm import NsmEmulator

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
PCRS = {0: b"\xa0" * 48, 1: b"\xa1" * 48, 2: b"\xa2" * 48}
INSTANCE = "i-0123456789abcdef0"
MODULE = f"{INSTANCE}-enc0123456789abcdef"
ROOT = pki.create(NOW)


@pytest.fixture
def emulator() -> NsmEmulator:
    return NsmEmulator(PCRS, ROOT, lambda: NOW, MODULE)


@pytest.fixture
def stream(emulator: NsmEmulator) -> Iterator[socket.socket]:
    """The enclave's end of a served socket; the server has to end when it is closed."""
    ours, theirs = socket.socketpair()
    server = threading.Thread(target=nsm.serve, args=(emulator, theirs))
    server.start()
    ours.settimeout(5)
    yield ours
    ours.close()
    server.join(5)
    theirs.close()
    assert not server.is_alive()


def send(stream: socket.socket, request: bytes) -> None:
    stream.sendall(struct.pack(">I", len(request)) + request)


def receive(stream: socket.socket) -> object:
    (length,) = struct.unpack(">I", stream.recv(4, socket.MSG_WAITALL))
    return cbor2.loads(stream.recv(length, socket.MSG_WAITALL))


def test_requests_are_served_in_order(stream: socket.socket) -> None:
    send(stream, cbor2.dumps({"LockPCR": {"index": 16}}))
    send(stream, cbor2.dumps({"LockPCR": {"index": 16}}))
    assert [receive(stream), receive(stream)] == ["LockPCR", {"Error": "ReadOnlyIndex"}]


def test_a_request_in_single_bytes_is_served(stream: socket.socket) -> None:
    request = cbor2.dumps({"LockPCR": {"index": 16}})
    for byte in struct.pack(">I", len(request)) + request:
        stream.sendall(bytes([byte]))
    assert receive(stream) == "LockPCR"


def test_an_error_does_not_end_the_stream(stream: socket.socket) -> None:
    send(stream, b"")
    assert receive(stream) == {"Error": "InvalidOperation"}
    send(stream, b"\xff")
    assert receive(stream) == {"Error": "InvalidOperation"}
    send(stream, cbor2.dumps({"LockPCR": {"index": 16}}))
    assert receive(stream) == "LockPCR"


@pytest.mark.parametrize("length", [0x1001, 0xFFFFFFFF])
def test_a_length_over_the_limit_is_answered_and_ends_the_stream(
    emulator: NsmEmulator, length: int
) -> None:
    ours, theirs = socket.socketpair()
    with ours, theirs:
        ours.sendall(struct.pack(">I", length))
        nsm.serve(emulator, theirs)  # returns without waiting for the bytes
        assert receive(ours) == {"Error": "InputTooLarge"}


@pytest.mark.parametrize("sent", [b"", b"\0", b"\0\0\0\x05", b"\0\0\0\x05\x64Desc"[:-1]])
def test_a_stream_cut_anywhere_ends_the_service(emulator: NsmEmulator, sent: bytes) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        ours.sendall(sent)
        ours.close()
        nsm.serve(emulator, theirs)


def test_an_enclave_that_does_not_wait_for_its_answer_ends_the_service(
    emulator: NsmEmulator,
) -> None:
    ours, theirs = socket.socketpair()
    with theirs:
        send(ours, cbor2.dumps("DescribeNSM"))
        send(ours, cbor2.dumps("DescribeNSM"))
        ours.close()
        nsm.serve(emulator, theirs)


def test_an_enclave_that_leaves_its_answer_unread_ends_the_service(stream: socket.socket) -> None:
    """The server's next read is then a connection reset."""
    send(stream, cbor2.dumps("DescribeNSM"))
    assert stream.recv(4, socket.MSG_PEEK | socket.MSG_WAITALL)
