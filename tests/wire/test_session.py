from __future__ import annotations

import pytest
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from enclave.wire import hpke
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from enclave.wire.frames import HEADER, Channel, Type
from enclave.wire.session import EXPECTED, TRANSITIONS, Role, Session, State
from tests.wire.streams import End, pair

INFO = b"the transcript"


def keyed(client_info: bytes = INFO, step: int = 1 << 30) -> tuple[Session, Session, End, End]:
    """Client and server just after CLIENT_FINISH, each with its end of the stream."""
    client_end, server_end = pair(step)
    client = Session(Channel(client_end), Role.CLIENT)
    server = Session(Channel(server_end), Role.SERVER)
    private_key = X25519PrivateKey.generate()
    client.send(Type.CLIENT_HELLO, b"hello")
    server.receive()
    server.send(Type.SERVER_HELLO, private_key.public_key().public_bytes_raw())
    public_key = bytes(client.receive().body)
    encapsulated, secrets = hpke.establish(public_key, client_info)
    client.send(Type.CLIENT_FINISH, encapsulated)
    client.key(secrets)
    server.key(hpke.accept(private_key, bytes(server.receive().body), INFO))
    return client, server, client_end, server_end


def opened(step: int = 1 << 30) -> tuple[Session, Session, End, End]:
    client, server, client_end, server_end = keyed(step=step)
    server.send(Type.READY, b"")
    client.receive()
    return client, server, client_end, server_end


@pytest.mark.attack(23, 27)
@pytest.mark.parametrize("step", [1 << 30, 1], ids=["whole", "byte by byte"])
def test_a_whole_session(step: int) -> None:
    client, server, _, _ = opened(step)
    for turn in range(3):
        client.send(Type.REQUEST, b"question %d" % turn)
        assert server.receive() == (Type.REQUEST, b"question %d" % turn)
        server.send(Type.RESPONSE, b"answer %d" % turn)
        assert client.receive() == (Type.RESPONSE, b"answer %d" % turn)
    client.send(Type.END, b"")
    server.receive()
    assert client.state is server.state is State.CLOSED


@pytest.mark.attack(23)
@pytest.mark.parametrize("parts", [0, 1, 5])
def test_a_stream_of_parts_ends_with_its_response(parts: int) -> None:
    client, server, _, _ = opened()
    client.send(Type.GENERATE, b"prompt")
    assert server.receive() == (Type.GENERATE, b"prompt")
    for number in range(parts):
        server.send(Type.PART, b"part %d" % number)
        assert client.state is server.state is State.GENERATING
        assert client.receive() == (Type.PART, b"part %d" % number)
    server.send(Type.RESPONSE, b"answer")
    assert client.receive() == (Type.RESPONSE, b"answer")
    assert client.state is server.state is State.OPEN


PARTS = tuple(b"part %d" % number for number in range(4))


@pytest.mark.attack(23, 24)
@pytest.mark.parametrize(
    ("order", "whole"),
    [((0, 2, 1, 3), 1), ((0, 1, 1, 2), 2), ((0, 2, 3), 1), ((1, 2, 3), 0)],
    ids=["reordered", "repeated", "dropped", "without the first"],
)
def test_parts_come_as_they_were_sent_or_not_at_all(order: tuple[int, ...], whole: int) -> None:
    client, server, _, server_end = opened()
    sent: list[bytes] = []

    def keep(data: bytes) -> bytes:
        sent.append(data)
        return b""

    client.send(Type.GENERATE, b"prompt")
    server.receive()
    server_end.spoil = keep
    for part in PARTS:
        server.send(Type.PART, part)
    server_end.spoil = lambda data: data
    server_end.sendall(b"".join(sent[number] for number in order))
    for number in range(whole):
        assert client.receive().body == PARTS[number]
    with pytest.raises(RemoteProtocolError, match="authentication"):
        client.receive()
    assert client.state is State.CLOSED


@pytest.mark.attack(23)
@pytest.mark.parametrize(("asked", "came"), [
    (Type.REQUEST, Type.PART), (Type.COLLECT, Type.PART), (Type.GENERATE, Type.REPORT),
    (Type.GENERATE, Type.READY), (Type.GENERATE, Type.GENERATE),
])  # fmt: skip
def test_a_frame_out_of_turn_is_refused_by_its_header(asked: Type, came: Type) -> None:
    client, server, _, server_end = opened()
    client.send(asked, b"")
    assert server._sealing is not None
    Channel(server_end).send(came, server._sealing.seal(came, b""))
    with pytest.raises(RemoteProtocolError, match=f"frame type {came.value}, expected"):
        client.receive()
    assert client.state is State.CLOSED


@pytest.mark.attack(24)
def test_a_stream_of_parts_that_is_cut_is_no_end() -> None:
    client, server, _, _ = opened()
    client.send(Type.GENERATE, b"prompt")
    server.receive()
    server.send(Type.PART, b"part")
    client.receive()
    with pytest.raises(RemoteProtocolError, match="without an authenticated end"):
        client.receive()


@pytest.mark.attack(20)
def test_another_transcript_gives_other_keys() -> None:
    client, server, _, _ = keyed(client_info=b"another transcript")
    server.send(Type.READY, b"")
    with pytest.raises(RemoteProtocolError, match="authentication"):
        client.receive()


def flip(at: int) -> object:
    def spoil(data: bytes) -> bytes:
        return data[:at] + bytes([data[at] ^ 1]) + data[at + 1 :]

    return spoil


@pytest.mark.attack(23)
@pytest.mark.parametrize("at", range(HEADER.size, HEADER.size + 8 + 16))
def test_a_flipped_bit_of_a_record_closes(at: int) -> None:
    client, server, client_end, _ = opened()
    client_end.spoil = flip(at)  # type: ignore[assignment]
    client.send(Type.REQUEST, b"12345678")
    with pytest.raises(RemoteProtocolError, match="authentication"):
        server.receive()
    assert server.state is State.CLOSED
    with pytest.raises(RemoteProtocolError):
        server.receive()


@pytest.mark.attack(23)
def test_a_changed_type_is_authenticated_too() -> None:
    client, server, client_end, _ = opened()
    client_end.spoil = lambda data: data[:1] + bytes([Type.COLLECT]) + data[2:]
    client.send(Type.REQUEST, b"question")
    with pytest.raises(RemoteProtocolError, match="authentication"):
        server.receive()


@pytest.mark.attack(23)
def test_a_repeated_record_is_refused() -> None:
    client, server, client_end, _ = opened()
    client_end.spoil = lambda data: data + data
    client.send(Type.REQUEST, b"question")
    server.receive()
    server.send(Type.RESPONSE, b"answer")
    with pytest.raises(RemoteProtocolError, match="authentication"):
        server.receive()


@pytest.mark.attack(23)
def test_a_dropped_record_is_noticed() -> None:
    client, server, client_end, _ = opened()
    client_end.spoil = lambda _: b""
    client.send(Type.REQUEST, b"lost")
    client_end.spoil = lambda data: data
    client._state = State.OPEN
    client.send(Type.REQUEST, b"second")
    with pytest.raises(RemoteProtocolError, match="authentication"):
        server.receive()


@pytest.mark.attack(26)
def test_a_record_of_another_session_is_refused() -> None:
    client, _, client_end, _ = opened()
    other_client, other_server, other_end, _ = opened()
    stolen = b""

    def steal(data: bytes) -> bytes:
        nonlocal stolen
        stolen = data
        return data

    client_end.spoil = steal
    client.send(Type.REQUEST, b"question")
    other_end.spoil = lambda _: stolen
    other_client.send(Type.REQUEST, b"question")
    with pytest.raises(RemoteProtocolError, match="authentication"):
        other_server.receive()


@pytest.mark.attack(25)
def test_a_reflected_record_is_refused() -> None:
    client, server, client_end, server_end = opened()
    sent = b""

    def keep(data: bytes) -> bytes:
        nonlocal sent
        sent = data
        return data

    client_end.spoil = keep
    client.send(Type.REQUEST, b"question")
    server.receive()
    server_end.spoil = lambda _: sent[:1] + bytes([Type.RESPONSE]) + sent[2:]
    server.send(Type.RESPONSE, b"answer")
    with pytest.raises(RemoteProtocolError, match="authentication"):
        client.receive()


@pytest.mark.attack(24)
def test_a_cut_stream_is_no_end() -> None:
    _, server, client_end, _ = opened()
    client_end.sendall(b"")
    with pytest.raises(RemoteProtocolError, match="without an authenticated end"):
        server.receive()


@pytest.mark.attack(45)
def test_an_alert_says_only_that() -> None:
    client, _, _, server_end = opened()
    Channel(server_end).send(Type.ALERT, b"")
    client.send(Type.REQUEST, b"question")
    with pytest.raises(RemoteProtocolError, match="ended the session with an alert"):
        client.receive()


@pytest.mark.parametrize("state", list(State))
@pytest.mark.parametrize("kind", list(Type))
def test_only_the_table_may_be_sent(state: State, kind: Type) -> None:
    client, server, _, _ = opened()
    for session, role in ((client, Role.CLIENT), (server, Role.SERVER)):
        if TRANSITIONS.get((state, kind), (None,))[0] is role:
            continue
        session._state = state
        with pytest.raises(LocalProtocolError, match=kind.name):
            session.send(kind, b"")


def test_every_open_state_waits_for_exactly_one_side() -> None:
    for state in set(State) - {State.CLOSED}:
        waits = [role for role in Role if EXPECTED[state, role]]
        assert len(waits) == 1, state


@pytest.mark.parametrize("encapsulated", [b"", bytes(31), bytes(32), b"\xff" * 33])
def test_unusable_encapsulated_keys(encapsulated: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="encapsulated"):
        hpke.accept(X25519PrivateKey.generate(), encapsulated, INFO)


@pytest.mark.parametrize("public_key", [b"", bytes(31), bytes(32), b"\xff" * 33])
def test_unusable_public_keys(public_key: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match="public key"):
        hpke.establish(public_key, INFO)
