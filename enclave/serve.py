"""Serve: accept, prove, answer; where sockets meet the session. One thread a connection.

To a peer every failure looks the same: an ALERT without content, then the end.
"""

from __future__ import annotations

import contextlib
import socket
import threading
from collections.abc import Callable

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from enclave.boot import Booted
from enclave.conversation import Conversation, Identity
from enclave.stages import Marks
from enclave.tee import ECHO_PORT, SERVICE_PORT, Tee
from enclave.wire import hpke, receipt, transcript
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import Channel, Type
from enclave.wire.messages import Claims, ClientHello, Collect
from enclave.wire.session import Role, Session, State

HANDSHAKE_SECONDS = 10.0
IDLE_SECONDS = 600.0


class Service:
    """A loaded model behind attested sessions."""

    def __init__(self, tee: Tee, booted: Booted) -> None:
        self._tee = tee
        receipt_key = Ed25519PrivateKey.generate()
        pcr0, pcr1, pcr2 = (booted.measurements[index] for index in (0, 1, 2))
        self._identity = Identity(
            tee.platform, booted, receipt_key, receipt.Measurements(pcr0, pcr1, pcr2)
        )
        self._claims = Claims(
            receipt_key.public_key().public_bytes_raw(),
            booted.settings.digest(),
            booted.manifest_digest,
        ).encode()
        self._free = threading.Semaphore(booted.settings.sessions)

    def run(self) -> None:
        """Accept for ever."""
        work: dict[int, Callable[[Channel, socket.socket], None]]
        work = {SERVICE_PORT: self._converse}
        if self._identity.booted.settings.echo:
            work[ECHO_PORT] = _echo
        for port, stream in self._tee.accept():
            if port in work:
                arguments = work[port], stream, self._tee.write_bytes
                threading.Thread(target=_handle, args=arguments, daemon=True).start()
            else:
                stream.close()

    def _converse(self, channel: Channel, stream: socket.socket) -> None:
        marks = Marks()
        session = Session(channel, Role.SERVER, marks)
        hello = bytes(session.receive().body)
        if not self._free.acquire(blocking=False):
            raise RemoteProtocolError("one session more than the settings allow")
        try:
            conversation = self._shake_hands(session, hello, marks)
            stream.settimeout(IDLE_SECONDS)
            _talk(session, conversation)
        finally:
            self._free.release()

    def _shake_hands(self, session: Session, hello: bytes, marks: Marks) -> Conversation:
        challenge = ClientHello.decode(hello).challenge
        private_key = X25519PrivateKey.generate()
        evidence = self._tee.attest(
            public_key=private_key.public_key().public_bytes_raw(),
            user_data=self._claims,
            nonce=challenge,
        )
        session.send(Type.SERVER_HELLO, evidence)
        encapsulated = bytes(session.receive().body)
        binding = transcript.binding(hello, evidence)
        keys = hpke.accept(private_key, encapsulated, binding)
        session.key(keys)
        session.send(Type.READY, b"")
        return Conversation(self._identity, keys.session_id, challenge, evidence, marks)


def _talk(session: Session, conversation: Conversation) -> None:
    while True:
        kind, body = session.receive()
        if session.state is State.CLOSED:
            return
        if kind is Type.COLLECT:
            session.send(Type.REPORT, conversation.report(Collect.decode(body).records))
        else:
            session.send(Type.RESPONSE, conversation.answer(bytes(body)))


def _handle(
    work: Callable[[Channel, socket.socket], None], stream: socket.socket, write_bytes: int | None
) -> None:
    channel = Channel(stream, write_bytes=write_bytes)
    with stream:
        stream.settimeout(HANDSHAKE_SECONDS)
        try:
            work(channel, stream)
        except (RemoteProtocolError, OSError):
            with contextlib.suppress(OSError):
                channel.send(Type.ALERT, b"")


def _echo(channel: Channel, stream: socket.socket) -> None:
    """Send every frame back: the transport alone, without a byte of ours in it."""
    stream.settimeout(IDLE_SECONDS)
    while True:
        channel.send(*channel.receive(Type.ECHO))
