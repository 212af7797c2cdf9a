"""The record layer under a proxy that holds every byte of two sessions and does as it likes.

The model knows both byte streams, the one that was sent and the one that was let through. Up to
where they part, every whole record comes out as it went in; from there on nothing ever does.
"""

from __future__ import annotations

import contextlib
import secrets

import hypothesis.strategies as st
import pytest
from hypothesis import settings
from hypothesis.stateful import (
    Bundle,
    RuleBasedStateMachine,
    consumes,
    initialize,
    invariant,
    precondition,
    rule,
)

from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import HEADER, LIMITS, Channel, Type
from enclave.wire.records import Direction
from tests.wire.streams import Pipe

pytestmark = pytest.mark.attack(23, 24, 25, 26)

KINDS = (Type.REQUEST, Type.RESPONSE, Type.GENERATE, Type.PART, Type.COLLECT, Type.END)
WAYS = st.sampled_from([(session, sender) for session in (0, 1) for sender in (1, 2)])
Way = tuple[int, int]


class Link:
    """One direction of one session: a sender, what the proxy let through, a receiver."""

    def __init__(self, key: bytes, session_id: bytes, code: int, bucket: int, step: int) -> None:
        self.sealing = Direction(key, session_id, code, bucket)
        self.opening = Direction(key, session_id, code)
        self.outbox = Pipe()
        self.sender = Channel(self.outbox)
        self.inbox = Pipe(step)
        self.receiver = Channel(self.inbox)
        self.sent: list[tuple[Type, bytes]] = []
        self.ends: list[int] = []  # where each record ends in the stream as sent
        self.stream = bytearray()
        self.passed = bytearray()
        self.pending = bytearray()  # passed on, and not yet received
        self.received: list[tuple[Type, bytes]] = []
        self.closed = False

    def send(self, kind: Type, message: bytes) -> bytes:
        self.sender.send(kind, self.sealing.seal(kind, message))
        data = bytes(self.outbox.data)
        self.outbox.data.clear()
        self.sent.append((kind, message))
        self.stream += data
        self.ends.append(len(self.stream))
        return data

    def deliver(self, data: bytes) -> None:
        self.passed += data
        self.inbox.data += data
        self.pending += data

    def receive_all(self) -> None:
        """As a receiver would whose peer stops sending for a while."""
        while not self.closed and self._is_decidable():
            self._receive()

    def finish(self) -> None:
        """The stream ends here; the cut itself is noticed too."""
        while not self.closed:
            self._receive()

    def _receive(self) -> None:
        try:
            kind, body = self.receiver.receive(*KINDS)
        except RemoteProtocolError:
            self.closed = True
            return
        del self.pending[: HEADER.size + len(body)]
        with contextlib.suppress(RemoteProtocolError):  # and go on, as no session would
            self.received.append((kind, self.opening.open(kind, body)))

    def _is_decidable(self) -> bool:
        data = self.pending
        if len(data) < HEADER.size:
            return False
        version, kind, length = HEADER.unpack_from(data)
        refused = version != 1 or kind not in KINDS or length > LIMITS[kind]
        return refused or len(data) >= HEADER.size + length

    def honest(self) -> int:
        """How many records were let through whole and unchanged, from the first on."""
        common = len(self.passed)
        if self.stream[:common] != self.passed:
            pairs = zip(self.stream, self.passed, strict=False)
            common = next((i for i, (a, b) in enumerate(pairs) if a != b), len(self.stream))
        return sum(end <= common for end in self.ends)


class Proxy(RuleBasedStateMachine):
    """What is in the proxy's hands may be passed on or not, any number of times."""

    frames = Bundle("frames")

    @initialize(
        step=st.sampled_from([1, 7, 1 << 30]),
        bucket=st.sampled_from([0, 1, 16, 100]),
        same_key=st.booleans(),
    )
    def begin(self, step: int, bucket: int, same_key: bool) -> None:
        key = secrets.token_bytes(32)
        self.links: dict[Way, Link] = {}
        for session in (0, 1):
            for sender in (1, 2):
                # Even one key for all, which no handshake gives, may not let a record stray.
                own = key if same_key else secrets.token_bytes(32)
                identity = bytes([session]) * 16
                self.links[session, sender] = Link(own, identity, sender, bucket, step)

    @rule(target=frames, way=WAYS, kind=st.sampled_from(KINDS), message=st.binary(max_size=40))
    def send(self, way: Way, kind: Type, message: bytes) -> tuple[Way, bytes]:
        return way, self.links[way].send(kind, message)

    @rule(frame=consumes(frames))
    def pass_on(self, frame: tuple[Way, bytes]) -> None:
        self.links[frame[0]].deliver(frame[1])

    @rule(frame=consumes(frames))
    def drop(self, frame: tuple[Way, bytes]) -> None:
        pass

    @rule(frame=frames)
    def repeat(self, frame: tuple[Way, bytes]) -> None:
        self.links[frame[0]].deliver(frame[1])

    @rule(one=consumes(frames), two=consumes(frames), ordered=st.booleans())
    def join(self, one: tuple[Way, bytes], two: tuple[Way, bytes], ordered: bool) -> None:
        first, second = (one, two) if ordered else (two, one)
        self.links[first[0]].deliver(first[1] + second[1])

    @rule(frame=consumes(frames), at=st.integers(0, 60))
    def split(self, frame: tuple[Way, bytes], at: int) -> None:
        link = self.links[frame[0]]
        link.deliver(frame[1][:at])
        link.receive_all()
        link.deliver(frame[1][at:])

    @rule(frame=consumes(frames), at=st.integers(0, 60))
    def cut(self, frame: tuple[Way, bytes], at: int) -> None:
        self.links[frame[0]].deliver(frame[1][:at])

    @rule(frame=frames)
    def reflect(self, frame: tuple[Way, bytes]) -> None:
        (session, sender), data = frame
        self.links[session, 3 - sender].deliver(data)

    @rule(frame=frames)
    def splice(self, frame: tuple[Way, bytes]) -> None:
        (session, sender), data = frame
        self.links[1 - session, sender].deliver(data)

    @rule(frame=consumes(frames), bit=st.integers(0, 500))
    def flip(self, frame: tuple[Way, bytes], bit: int) -> None:
        data = bytearray(frame[1])
        data[bit // 8 % len(data)] ^= 1 << bit % 8
        self.links[frame[0]].deliver(bytes(data))

    @rule(frame=consumes(frames), kind=st.sampled_from(KINDS))
    def relabel(self, frame: tuple[Way, bytes], kind: Type) -> None:
        self.links[frame[0]].deliver(frame[1][:1] + bytes([kind]) + frame[1][2:])

    @rule(way=WAYS, data=st.binary(min_size=1, max_size=30))
    def invent(self, way: Way, data: bytes) -> None:
        self.links[way].deliver(data)

    @rule(way=WAYS, count=st.integers(1, 4))
    def honestly(self, way: Way, count: int) -> None:
        """A run of records that the proxy leaves alone, so that streams get long."""
        link = self.links[way]
        for number in range(count):
            link.deliver(link.send(KINDS[number], b"left alone"))

    @precondition(lambda self: hasattr(self, "links"))
    @invariant()
    def exactly_what_was_sent_or_closed(self) -> None:
        for link in self.links.values():
            link.receive_all()
            self._check(link)

    def teardown(self) -> None:
        for link in getattr(self, "links", {}).values():
            link.finish()
            self._check(link)

    def _check(self, link: Link) -> None:
        assert link.received == link.sent[: link.honest()]


Proxy.TestCase.settings = settings(max_examples=150, stateful_step_count=30, deadline=None)
TestProxy = Proxy.TestCase
