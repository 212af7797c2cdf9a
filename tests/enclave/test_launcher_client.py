"""The launcher's client: against the emulated launcher, and against ones that misbehave."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

import pytest

from bench.emulators.attestor import Attestor, Workload
from bench.emulators.launcher import Launcher as Emulator
from bench.emulators.launcher import serving
from bench.verify import confidential_space
from enclave.tee.launcher import MAX_TOKEN_BYTES, Launcher, LauncherError
from enclave.wire.binding import token_nonce
from enclave.wire.errors import LocalProtocolError

NOW = datetime(2026, 6, 1, 12, 0, tzinfo=UTC)
NONCE = token_nonce(b"\x01" * 32, b"\x02" * 32, b"confbench test")


@pytest.fixture(scope="module")
def attestor() -> Attestor:
    return Attestor.create(NOW)


@pytest.fixture
def path(attestor: Attestor, tmp_path: Path) -> Iterator[Path]:
    emulator = Emulator(attestor, Workload(f"sha256:{'a5' * 32}"), now=lambda: NOW)
    with serving(tmp_path / "teeserver.sock", emulator) as ready:
        yield ready


def test_a_token_comes_with_its_chain(path: Path, attestor: Attestor) -> None:
    data = Launcher(path).token("verifier", [NONCE])
    token = confidential_space.authenticate_pki(data, root=attestor.root, now=NOW)
    assert (token.audience, token.nonces) == ("verifier", (NONCE,))


def test_a_token_of_the_other_type_comes_when_asked_for(path: Path, attestor: Attestor) -> None:
    client = Launcher(path)
    data = client.token("verifier", [NONCE, "m" * 10], token_type="OIDC")
    token = confidential_space.authenticate_oidc(data, key_set=attestor.key_set)
    assert token.nonces == (NONCE, "m" * 10)


@pytest.mark.parametrize(
    ("audience", "nonces", "token_type"),
    [
        ("", [NONCE], "PKI"),
        ("a" * 513, [NONCE], "PKI"),
        ("verifier", ["n" * 9], "PKI"),
        ("verifier", ["n" * 75], "PKI"),
        ("verifier", [NONCE] * 7, "PKI"),
        ("verifier", [NONCE], "pki"),
    ],
)
def test_a_request_that_would_be_refused_is_not_sent(
    audience: str, nonces: list[str], token_type: str
) -> None:
    with pytest.raises(LocalProtocolError):
        Launcher(Path("/nowhere")).token(audience, nonces, token_type=token_type)


def test_no_launcher(tmp_path: Path) -> None:
    with pytest.raises(LauncherError, match="FileNotFoundError"):
        Launcher(tmp_path / "teeserver.sock").token("verifier", [NONCE])


@contextmanager
def answering(path: Path, answer: bytes | None) -> Iterator[Launcher]:
    """A launcher that answers one request with these bytes; with None, not at all."""
    done = threading.Event()

    def serve(listener: socket.socket) -> None:
        stream, _ = listener.accept()
        with stream:
            request = b""
            while not request.endswith(b"}"):
                request += stream.recv(65536)
            if answer is None:
                done.wait(5)
            else:
                stream.sendall(answer)

    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        thread = threading.Thread(target=serve, args=(listener,), daemon=True)
        thread.start()
        yield Launcher(path, timeout_s=0.2 if answer is None else 5)
        done.set()
        thread.join()


def response(body: bytes, status: str = "200 OK") -> bytes:
    return f"HTTP/1.1 {status}\r\nContent-Length: {len(body)}\r\n\r\n".encode() + body


CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


@pytest.mark.parametrize(
    ("answer", "why"),
    [
        (b"", "RemoteDisconnected"),
        (b"nonsense\r\n\r\n", "BadStatusLine"),
        (response(b"a.b.cccc")[:-2], "cut off after 6 bytes"),
        (CHUNKED + b"5\r\na.b.c\r\n", "IncompleteRead"),
        (response(b""), "no token"),
        (response(b"<html>"), "no token"),
        (response(b"a.b.c.d"), "no token"),
        (response("é.b.c".encode()), "no token"),
        (response(b"a.b." + b"c" * MAX_TOKEN_BYTES), "no token|cut off"),
        (response(b"no nonce \xff" + b"x" * 400, "400 Bad Request"), "answers 400: no nonce"),
        (response(b"a.b.c", "302 Found\r\nLocation: http://evil.invalid/"), "answers 302"),
    ],
    ids=range(11),
)
def test_an_answer_that_is_no_token_is_an_error(tmp_path: Path, answer: bytes, why: str) -> None:
    with (
        answering(tmp_path / "s", answer) as client,
        pytest.raises(LauncherError, match=why) as caught,
    ):
        client.token("verifier", [NONCE])
    assert len(str(caught.value)) < 300


def test_a_launcher_that_does_not_answer_is_given_up(tmp_path: Path) -> None:
    with (
        answering(tmp_path / "s", None) as client,
        pytest.raises(LauncherError, match="TimeoutError"),
    ):
        client.token("verifier", [NONCE])


def test_a_token_in_chunks_is_put_together(tmp_path: Path) -> None:
    """As a server in Go sends what is longer than its buffer."""
    with answering(tmp_path / "s", CHUNKED + b"4\r\na.b.\r\n1\r\nc\r\n0\r\n\r\n") as client:
        assert client.token("verifier", [NONCE]) == b"a.b.c"


def test_white_space_around_a_token_is_no_part_of_it(tmp_path: Path) -> None:
    with answering(tmp_path / "s", response(b"a.b.c\n")) as client:
        assert client.token("verifier", [NONCE]) == b"a.b.c"
