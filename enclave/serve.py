"""Serve: accept, prove, answer; where sockets meet the session. One thread a connection.

Cheap checks come first: a place among the half-open, then a well-formed hello, then a free session,
and only then the security module. To a peer every failure looks the same: an ALERT without content,
then the end.
"""

from __future__ import annotations

import contextlib
import errno
import socket
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.asymmetric.x25519 import X25519PrivateKey

from enclave.boot import Booted
from enclave.conversation import Conversation, Identity
from enclave.deadlines import Clock, TimedStream
from enclave.places import Places
from enclave.stages import Marks, Stages
from enclave.tee import ECHO_PORT, SERVICE_PORT, Tee
from enclave.wire import hpke, receipt, transcript
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import Channel, Type
from enclave.wire.messages import Claims, ClientHello
from enclave.wire.session import Role, Session, State

ALERT_SECONDS = 1.0
ACCEPT_PAUSE_SECONDS = 0.01  # where files run out, so that it is no busy loop
ECHOES = 8  # connections to the echo port at a time

Work = Callable[[Channel, TimedStream, ExitStack], None]


class Service:
    """A loaded model behind attested sessions."""

    def __init__(self, tee: Tee, booted: Booted, clock: Clock = time.monotonic) -> None:
        self._tee = tee
        self._clock = clock
        self._settings = booted.settings
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
        self.sessions = Places("sessions", booted.settings.sessions)
        self.half_open = Places("half-open sessions", booted.settings.half_open)
        self._work: dict[int, tuple[Work, Places]]
        self._work = {SERVICE_PORT: (self._converse, self.half_open)}
        if booted.settings.echo:
            self._work[ECHO_PORT] = (self._echo, Places("echoes", ECHOES))

    def run(self) -> None:
        """Accept for ever."""
        for port, stream in _connections(self._tee):
            if port in self._work:
                self._admit(stream, *self._work[port])
            else:
                stream.close()

    def _admit(self, stream: socket.socket, work: Work, places: Places) -> None:
        """Give a connection its place and its thread, or refuse it here and now."""
        timed = TimedStream(stream, self._settings.handshake_seconds, self._clock)
        channel = Channel(timed, write_bytes=self._tee.write_bytes, pace=timed.frame)
        place = ExitStack()
        try:
            place.enter_context(places.take())
            arguments = work, channel, timed, place
            threading.Thread(target=_handle, args=arguments, daemon=True).start()
        except (RemoteProtocolError, RuntimeError):  # no place, or no thread to be had
            with place, contextlib.closing(timed):
                _alert(channel, timed)

    def _converse(self, channel: Channel, timed: TimedStream, place: ExitStack) -> None:
        marks = Marks()
        session = Session(channel, Role.SERVER, marks, self._settings.response_bucket_bytes)
        hello = bytes(session.receive().body)
        challenge = ClientHello.decode(hello).challenge
        self.sessions.check()
        private_key = X25519PrivateKey.generate()
        stages = Stages()
        with stages("attested"):
            evidence = self._tee.attest(
                public_key=private_key.public_key().public_bytes_raw(),
                user_data=self._claims,
                nonce=challenge,
            )
        session.send(Type.SERVER_HELLO, evidence)
        encapsulated = bytes(session.receive().body)
        with self.sessions.take():
            with stages("keyed"):
                keys = hpke.accept(private_key, encapsulated, transcript.binding(hello, evidence))
            session.key(keys)
            place.close()  # no longer half-open
            session.send(Type.READY, b"")
            talk = Conversation(self._identity, keys.session_id, challenge, evidence, stages, marks)
            self._talk(session, talk, timed)

    def _talk(self, session: Session, conversation: Conversation, timed: TimedStream) -> None:
        timed.phase(self._settings.session_seconds)
        while True:
            timed.idle(self._settings.idle_seconds)
            kind, body = session.receive()
            if session.state is State.CLOSED:
                return
            with contextlib.closing(conversation.replies(kind, bytes(body))) as replies:
                for reply in replies:
                    session.send(*reply)

    def _echo(self, channel: Channel, timed: TimedStream, _: ExitStack) -> None:
        """Send every frame back: the transport alone, without a byte of ours in it."""
        timed.phase(self._settings.session_seconds)
        while True:
            timed.idle(self._settings.idle_seconds)
            channel.send(*channel.receive(Type.ECHO))


def _connections(tee: Tee) -> Iterator[tuple[int, socket.socket]]:
    """What the parent brings; a connection that breaks while it is made ends nothing else."""
    while True:
        try:
            yield from tee.accept()
            return
        except OSError as error:
            if error.errno in (errno.EBADF, errno.EINVAL):  # nobody listens any more
                return
        time.sleep(ACCEPT_PAUSE_SECONDS)


def _handle(work: Work, channel: Channel, timed: TimedStream, place: ExitStack) -> None:
    with place, contextlib.closing(timed):
        try:
            work(channel, timed, place)
        except (RemoteProtocolError, OSError):
            _alert(channel, timed)
        except Exception as error:  # a bug of ours: it ends this connection and nothing else
            print(f"error: unexpected {_origin(error)}", file=sys.stderr, flush=True)
            _alert(channel, timed)


def _alert(channel: Channel, timed: TimedStream) -> None:
    timed.phase(ALERT_SECONDS)
    with contextlib.suppress(OSError):
        channel.send(Type.ALERT, b"")


def _origin(error: Exception) -> str:
    """Kind of an exception and where it rose; its message may quote what a client sent."""
    step = error.__traceback__
    while step is not None and step.tb_next is not None:
        step = step.tb_next
    where = f"{Path(step.tb_frame.f_code.co_filename).name}:{step.tb_lineno}" if step else "?"
    return f"{type(error).__name__} at {where}"
