"""Parties in the middle, impostors and hostile clients, against the real client and service."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from dataclasses import replace
from hashlib import sha256

import cbor2
import pytest

from bench.client.session import ClientSession
from bench.emulators import pki
from bench.emulators.nsm import NsmEmulator
from bench.verify import evidence
from enclave.tee import ECHO_PORT
from enclave.tee.nsm import Nsm
from enclave.wire import cbor, hpke, receipt, transcript
from enclave.wire.errors import RemoteProtocolError, VerificationError
from enclave.wire.frames import HEADER, LIMITS, VERSION, Channel, Frame, Type
from enclave.wire.messages import Claims, ClientHello, Request
from enclave.wire.session import Role, Session
from tests.client.enclaves import EXPECTED, SETTINGS, TIMEOUT_S, Enclave, open_one, running
from tests.verify import forge
from tests.wire.sealing import DIGEST, MANIFEST
from tests.wire.test_receipt import KEY as RECEIPT_KEY
from tests.wire.test_receipt import RECEIPT

SECRET_TEXT = "a text that nobody else may see"


@pytest.fixture(scope="module")
def enclave() -> Iterator[Enclave]:
    with running() as tee:
        yield tee


Middle = Callable[[Channel, Channel], None]


def between(enclave: Enclave, middle: Middle) -> ClientSession:
    """A client's session with the enclave through someone in the middle."""
    near, far = socket.socketpair()
    near.settimeout(TIMEOUT_S)
    far.settimeout(TIMEOUT_S)
    with near, far, enclave.connect() as onward:
        thread = threading.Thread(target=middle, args=(Channel(far), Channel(onward)))
        thread.start()
        try:
            return open_one(near)
        finally:
            near.close()
            thread.join(TIMEOUT_S)


def forward(source: Channel, target: Channel) -> Frame:
    """One frame of any type, passed on."""
    frame = source.receive(*Type)
    target.send(frame.type, frame.body)
    return frame


def test_the_enclave_of_these_tests_answers(enclave: Enclave) -> None:
    """The control of everything below."""
    with enclave.connect() as stream:
        session = open_one(stream)
        session.check(session.request([SECRET_TEXT]))
        session.collect()
        session.close()


# Replay, relay, impostors.


@pytest.mark.attack(1)
def test_every_session_has_a_challenge_of_its_own(enclave: Enclave) -> None:
    challenges = []
    for _ in range(2):
        with enclave.connect() as stream:
            challenges.append(open_one(stream).challenge)
    assert len(set(challenges)) == 2
    assert {len(challenge) for challenge in challenges} == {32}


@pytest.mark.attack(1, 19)
def test_the_evidence_of_another_session_is_refused(enclave: Enclave) -> None:
    with enclave.connect() as stream:
        old = open_one(stream).evidence

    def replay(client: Channel, _: Channel) -> None:
        client.receive(Type.CLIENT_HELLO)
        client.send(Type.SERVER_HELLO, old)

    with pytest.raises(VerificationError, match="nonce"):
        between(enclave, replay)


@pytest.mark.attack(20, 22)
def test_a_relay_of_genuine_evidence_has_no_keys(enclave: Enclave) -> None:
    """It takes a genuine document for the client's own challenge, and answers in its place."""

    def relay(client: Channel, onward: Channel) -> None:
        hello = forward(client, onward)
        evidence = forward(onward, client)
        client.receive(Type.CLIENT_FINISH)
        document = forge.authenticate(bytes(evidence.body))
        binding = transcript.binding(bytes(hello.body), bytes(evidence.body))
        _, secrets = hpke.establish(document.public_key or b"", binding)
        session = Session(client, Role.SERVER)
        session.key(secrets)
        assert session._sealing is not None
        client.send(Type.READY, session._sealing.seal(Type.READY, b""))

    with pytest.raises(RemoteProtocolError, match="authentication"):
        between(enclave, relay)


@pytest.mark.attack(20)
def test_a_relay_that_changes_the_hello_is_noticed(enclave: Enclave) -> None:
    def relay(client: Channel, onward: Channel) -> None:
        client.receive(Type.CLIENT_HELLO)
        onward.send(Type.CLIENT_HELLO, ClientHello(bytes(32)).encode())
        forward(onward, client)

    with pytest.raises(VerificationError, match="nonce"):
        between(enclave, relay)


@pytest.mark.attack(4, 22)
def test_an_impostor_learns_a_challenge_and_nothing_else(enclave: Enclave) -> None:
    """Same address, same behaviour, another root: one frame comes, and no second."""
    root = pki.create(forge.NOW)
    module = Nsm(NsmEmulator(forge.PCRS, root, lambda: forge.NOW, forge.MODULE).transact)
    came: list[bytes] = []

    def impostor(client: Channel, _: Channel) -> None:
        hello = ClientHello.decode(client.receive(*Type).body)
        key = bytes(range(32))
        client.send(Type.SERVER_HELLO, module.attest(public_key=key, nonce=hello.challenge))
        with pytest.raises(RemoteProtocolError, match="closed the stream"):
            came.append(bytes(client.receive(*Type).body))

    with pytest.raises(VerificationError, match="root"):
        between(enclave, impostor)
    assert came == []


@pytest.mark.attack(20, 21)
def test_keys_are_bound_to_hello_and_payload_and_not_to_a_signature() -> None:
    document = forge.document()
    parts = cbor2.loads(document)
    r, s = forge.coordinates(parts[3])
    parts[3] = forge.raw_signature(r, forge.CURVE_ORDER - s)
    twin, other = cbor2.dumps(parts), forge.document(nonce=bytes(32))
    binding = transcript.binding(b"hello", document)
    assert transcript.binding(b"hello", twin) == binding
    assert transcript.binding(b"hello", other) != binding
    assert transcript.binding(b"another hello", document) != binding


# Documents made for something else.

CLAIMS = Claims(b"k" * 32, SETTINGS.digest(), DIGEST)
OLDER = sha256(replace(MANIFEST, version="0").encode()).digest()


def examine(**changes: object) -> None:
    fields: dict[str, object] = {"user_data": CLAIMS.encode()} | changes
    evidence.examine(forge.document(**fields), EXPECTED, forge.NONCE, forge.NOW)


def test_evidence_made_for_this_is_accepted() -> None:
    examine()


@pytest.mark.attack(19, 31, 40)
@pytest.mark.parametrize(
    ("changes", "step"),
    [
        ({"user_data": None}, "claims"),
        ({"user_data": CLAIMS.encode()[:-1]}, "claims"),
        ({"user_data": CLAIMS.encode().replace(b"confbench/1", b"confbench/2")}, "claims"),
        ({"user_data": replace(CLAIMS, settings_digest=bytes(32)).encode()}, "settings digest"),
        ({"user_data": replace(CLAIMS, manifest_digest=OLDER).encode()}, "manifest digest"),
        ({"public_key": None}, "session key"),
        ({"public_key": bytes(294)}, "session key"),
    ],
    ids=["nothing", "cut", "protocol", "settings", "older model", "no key", "a kms key"],
)
def test_a_document_for_another_purpose_is_refused(changes: dict[str, object], step: str) -> None:
    with pytest.raises(VerificationError) as caught:
        examine(**changes)
    assert caught.value.step == step


@pytest.mark.attack(1, 38)
def test_freshness_never_rests_on_a_receipts_time() -> None:
    attested = evidence.examine(
        forge.document(user_data=CLAIMS.encode()), EXPECTED, forge.NONCE, forge.NOW
    )[0]
    expected = EXPECTED.receipts(attested, b"evidence", forge.NONCE)
    pcrs = receipt.Measurements(forge.PCRS[0], forge.PCRS[1], forge.PCRS[2])
    honest = replace(
        RECEIPT,
        issued_at=1,  # a host set the clock back by half a century
        nonce=forge.NONCE,
        model_id=MANIFEST.model,
        model_hash=MANIFEST.weights_sha256,
        attestation_hash=sha256(b"evidence").digest(),
        measurements=pcrs,
        security_mode="evaluation",
    )
    key = RECEIPT_KEY.public_key()
    assert receipt.verify(receipt.issue(honest, RECEIPT_KEY), key, expected=expected) == honest
    replayed = receipt.issue(replace(honest, nonce=bytes(32)), RECEIPT_KEY)
    with pytest.raises(VerificationError, match="NONCE"):
        receipt.verify(replayed, key, expected=expected)


# What a hostile client is told.

HELLO = ClientHello(bytes(32)).encode()


def frame(kind: int, body: bytes, length: int | None = None, version: int = VERSION) -> bytes:
    return HEADER.pack(version, kind, len(body) if length is None else length) + body


HANDSHAKES = {
    "version": frame(Type.CLIENT_HELLO, HELLO, version=2),
    "type": frame(99, HELLO),
    "out of turn": frame(Type.CLIENT_FINISH, bytes(32)),
    "a record before keys": frame(Type.REQUEST, bytes(64)),
    "2 GiB": frame(Type.CLIENT_HELLO, b"", length=1 << 31),
    "over the limit": frame(Type.CLIENT_HELLO, b"", length=LIMITS[Type.CLIENT_HELLO] + 1),
    "no cbor": frame(Type.CLIENT_HELLO, b"\xff"),
    "trailing byte": frame(Type.CLIENT_HELLO, HELLO + b"\0"),
    "protocol": frame(Type.CLIENT_HELLO, HELLO.replace(b"/1", b"/2")),
    "short challenge": frame(Type.CLIENT_HELLO, cbor.encode({1: "confbench/1", 2: bytes(31)})),
    "no key": frame(Type.CLIENT_HELLO, HELLO) + frame(Type.CLIENT_FINISH, b""),
    "key of small order": frame(Type.CLIENT_HELLO, HELLO) + frame(Type.CLIENT_FINISH, bytes(32)),
    "cut": frame(Type.CLIENT_HELLO, HELLO)[:-1],
    "nothing": b"",
}
ALERT = frame(Type.ALERT, b"")


def last_words(stream: socket.socket) -> bytes:
    """Everything up to the end, but for an honest SERVER_HELLO in front."""
    stream.settimeout(TIMEOUT_S)
    data = b""
    while part := stream.recv(65536):
        data += part
    if data[1:2] == bytes([Type.SERVER_HELLO]):
        data = data[HEADER.size + HEADER.unpack_from(data)[2] :]
    return data


@pytest.mark.attack(27, 45)
@pytest.mark.parametrize("data", HANDSHAKES.values(), ids=HANDSHAKES)
def test_every_failed_handshake_gets_the_same_alert(enclave: Enclave, data: bytes) -> None:
    with enclave.connect() as stream:
        stream.sendall(data)
        stream.shutdown(socket.SHUT_WR)
        assert last_words(stream) == ALERT


@pytest.mark.attack(45)
@pytest.mark.parametrize("what", ["forged", "no request", "too many texts", "another type", "cut"])
def test_every_failure_of_a_session_gets_the_same_alert(enclave: Enclave, what: str) -> None:
    with enclave.connect() as stream:
        session = open_one(stream)._session
        sealing, channel = session._sealing, session._channel
        assert sealing is not None
        if what == "forged":
            channel.send(Type.REQUEST, bytes(64))
        elif what == "no request":
            channel.send(Type.REQUEST, sealing.seal(Type.REQUEST, b"\xff"))
        elif what == "too many texts":
            channel.send(Type.REQUEST, sealing.seal(Type.REQUEST, Request(("",) * 65).encode()))
        elif what == "another type":
            channel.send(Type.READY, sealing.seal(Type.READY, b""))
        stream.shutdown(socket.SHUT_WR)
        assert last_words(stream) == ALERT


# What the host can read.


@pytest.mark.attack(46)
def test_nothing_of_a_session_is_printed(
    enclave: Enclave, capfd: pytest.CaptureFixture[str]
) -> None:
    with enclave.connect() as stream:
        session = open_one(stream)
        session.request([SECRET_TEXT])
        assert session._session._sealing is not None
        sealed = session._session._sealing.seal(Type.REQUEST, SECRET_TEXT.encode())
        Channel(stream).send(Type.REQUEST, sealed)
        stream.shutdown(socket.SHUT_WR)
        last_words(stream)
    with enclave.connect(ECHO_PORT) as stream:
        stream.sendall(frame(99, SECRET_TEXT.encode()))
        stream.shutdown(socket.SHUT_WR)
        assert last_words(stream) == ALERT
    assert capfd.readouterr() == ("", "")
