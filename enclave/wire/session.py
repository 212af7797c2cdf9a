"""The session as a table of states. Both sides run it on every frame, sent or received.

Rule of the file: it does not know which side it runs on until a frame comes from the wrong one, so
no rule can be laxer for us than for the peer.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum, auto

from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from enclave.wire.frames import Channel, Frame, Type
from enclave.wire.hpke import Secrets
from enclave.wire.records import Direction


class Role(Enum):
    """Who speaks."""

    CLIENT = 1
    SERVER = 2


class State(Enum):
    """Where a session stands."""

    START = auto()
    CHALLENGED = auto()
    OFFERED = auto()
    KEYED = auto()
    OPEN = auto()
    ASKED = auto()
    GENERATING = auto()
    COLLECTING = auto()
    CLOSED = auto()


# (state, frame) -> (who may send it, next state)
TRANSITIONS: dict[tuple[State, Type], tuple[Role, State]] = {
    (State.START, Type.CLIENT_HELLO): (Role.CLIENT, State.CHALLENGED),
    (State.CHALLENGED, Type.SERVER_HELLO): (Role.SERVER, State.OFFERED),
    (State.OFFERED, Type.CLIENT_FINISH): (Role.CLIENT, State.KEYED),
    (State.KEYED, Type.READY): (Role.SERVER, State.OPEN),
    (State.OPEN, Type.REQUEST): (Role.CLIENT, State.ASKED),
    (State.ASKED, Type.RESPONSE): (Role.SERVER, State.OPEN),
    (State.OPEN, Type.GENERATE): (Role.CLIENT, State.GENERATING),
    (State.GENERATING, Type.PART): (Role.SERVER, State.GENERATING),
    (State.GENERATING, Type.RESPONSE): (Role.SERVER, State.OPEN),
    (State.OPEN, Type.COLLECT): (Role.CLIENT, State.COLLECTING),
    (State.COLLECTING, Type.REPORT): (Role.SERVER, State.OPEN),
    (State.OPEN, Type.END): (Role.CLIENT, State.CLOSED),
}

EXPECTED: dict[tuple[State, Role], tuple[Type, ...]] = {
    (state, role): tuple(
        kind for (at, kind), (who, _) in TRANSITIONS.items() if at is state and who is role
    )
    for state in State
    for role in Role
}


Mark = Callable[[str], None]


class Session:
    """One side of one session over a channel.

    Sizes of what it seals are rounded up to `bucket_bytes`, if that is not 0.
    `mark` is told when a message was received, opened, sealed and sent; who listens and what a
    clock is stays outside.
    """

    def __init__(
        self,
        channel: Channel,
        role: Role,
        mark: Mark = lambda _: None,
        bucket_bytes: int = 0,
    ) -> None:
        self._channel = channel
        self._role = role
        self._mark = mark
        self._bucket_bytes = bucket_bytes
        self._peer = Role.SERVER if role is Role.CLIENT else Role.CLIENT
        self._state = State.START
        self._sealing: Direction | None = None
        self._opening: Direction | None = None

    @property
    def state(self) -> State:
        """Where this side stands."""
        return self._state

    def key(self, secrets: Secrets) -> None:
        """Take the secrets into use: every frame from READY on is a sealed record."""
        keys = {Role.CLIENT: secrets.client_key, Role.SERVER: secrets.server_key}
        ours, theirs = self._role, self._peer
        self._sealing = Direction(
            keys[ours], secrets.session_id, ours.value, bucket_bytes=self._bucket_bytes
        )
        self._opening = Direction(keys[theirs], secrets.session_id, theirs.value)

    def send(self, kind: Type, body: bytes) -> None:
        """Send a message, sealed where its type says so; LocalProtocolError if out of turn."""
        who, following = TRANSITIONS.get((self._state, kind), (None, State.CLOSED))
        if who is not self._role:
            raise LocalProtocolError(f"{kind.name} may not be sent when {self._state.name}")
        if kind >= Type.READY:
            if self._sealing is None:
                raise LocalProtocolError("no keys yet")
            body = self._sealing.seal(kind, body)
        self._mark("sealed")
        self._state = following
        self._channel.send(kind, body)
        self._mark("sent")

    def receive(self) -> Frame:
        """Receive the peer's next message, opened; RemoteProtocolError ends the session."""
        try:
            frame = self._channel.receive(*EXPECTED[self._state, self._peer], Type.ALERT)
            self._mark("received")
            if frame.type is Type.ALERT:
                raise RemoteProtocolError("the peer ended the session with an alert")
            if frame.type >= Type.READY:
                if self._opening is None:
                    raise RemoteProtocolError("a record came before the keys")
                frame = Frame(frame.type, self._opening.open(frame.type, frame.body))
        except (RemoteProtocolError, OSError):
            self._state = State.CLOSED
            raise
        self._mark("opened")
        self._state = TRANSITIONS[self._state, frame.type][1]
        return frame
