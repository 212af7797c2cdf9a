"""Hybrid vsock from inside: who says which port it wants gets there, and waits for no one."""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from enclave.tee.channels import HybridVsock

PORT = 5000


@pytest.fixture
def place(tmp_path: Path) -> Iterator[tuple[HybridVsock, Path]]:
    path = tmp_path / "v.sock"
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(path))
    listener.listen()
    channels = HybridVsock(listener, tmp_path, (PORT,))
    yield channels, path
    listener.shutdown(socket.SHUT_RDWR)
    channels.close()


def dial(path: Path, line: bytes) -> socket.socket:
    stream = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    try:
        stream.settimeout(5)
        stream.connect(str(path))
        stream.sendall(line)
    except OSError:
        stream.close()
        raise
    return stream


def test_a_port_of_ours_is_reached(place: tuple[HybridVsock, Path]) -> None:
    channels, path = place
    arrivals = channels.accept()
    with dial(path, b"CONNECT 5000\n") as peer:
        port, stream = next(arrivals)
        with stream:
            assert (port, peer.recv(16)) == (PORT, b"OK 5000\n")
            stream.sendall(b"hello")
            assert peer.recv(16) == b"hello"


@pytest.mark.attack(27)
def test_one_who_says_nothing_keeps_nobody_waiting(place: tuple[HybridVsock, Path]) -> None:
    channels, path = place
    arrivals = channels.accept()
    with dial(path, b"CONN") as silent, dial(path, b"CONNECT 5000\n"):
        _, stream = next(arrivals)
        stream.close()
        assert silent.fileno() >= 0


@pytest.mark.parametrize(
    "line",
    [
        b"CONNECT 7000\n",
        b"CONNECT\n",
        b"connect 5000\n",
        b"CONNECT -1\n",
        b"CONNECT 5x\n",
        b"9" * 40,
    ],
    ids=["port", "no port", "case", "negative", "no number", "endless"],
)
def test_others_are_hung_up_on_and_the_next_is_served(
    place: tuple[HybridVsock, Path], line: bytes
) -> None:
    channels, path = place
    arrivals = channels.accept()
    with dial(path, b"CONNECT 5000\n"), dial(path, line) as refused:
        next(arrivals)[1].close()
        with contextlib.suppress(ConnectionResetError):
            assert refused.recv(16) == b""
    with dial(path, b"CONNECT 5000\n"):
        next(arrivals)[1].close()


def test_one_who_is_gone_at_once_is_skipped(place: tuple[HybridVsock, Path]) -> None:
    channels, path = place
    arrivals = channels.accept()
    dial(path, b"CONNECT 5000\n").close()
    dial(path, b"").close()
    with dial(path, b"CONNECT 5000\n") as peer:
        for _, stream in arrivals:
            with stream:
                stream.setblocking(False)
            if peer.recv(16) == b"OK 5000\n":
                break


def test_no_thread_to_be_had_costs_that_one_connection(
    place: tuple[HybridVsock, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    channels, path = place
    arrivals = channels.accept()
    with dial(path, b"CONNECT 5000\n"):
        next(arrivals)[1].close()
    with monkeypatch.context() as patch:
        patch.setattr(threading.Thread, "start", lambda _: (_ for _ in ()).throw(RuntimeError()))
        with contextlib.suppress(ConnectionError), dial(path, b"CONNECT 5000\n") as refused:
            assert refused.recv(16) == b""
    with dial(path, b"CONNECT 5000\n"):
        next(arrivals)[1].close()


def test_it_ends_when_nobody_listens_any_more(tmp_path: Path) -> None:
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    listener.bind(str(tmp_path / "v.sock"))
    listener.listen()
    with listener:
        listener.shutdown(socket.SHUT_RDWR)
        assert list(HybridVsock(listener, tmp_path, (PORT,)).accept()) == []
