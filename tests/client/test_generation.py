"""Enclaves that hold the keys and still do not keep to what they streamed; clients that wait."""

from __future__ import annotations

import socket
import threading
from collections.abc import Iterator
from datetime import UTC, datetime
from typing import Any, cast

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bench.client.channel import TimedChannel
from bench.client.session import open_session, parts_of
from bench.client.talks import AttestedTalk, PlainTalk
from bench.plain import Plain
from enclave.stages import Stages
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.frames import Channel, Type
from enclave.wire.messages import Completion, Generate, Output, Part, Response
from tests.client.enclaves import EXPECTED, TIMEOUT_S, Enclave, Engine, running
from tests.verify import forge
from tests.wire.test_session import opened

ASKED_FOR = Generate("once upon", 3, 0, 0)
PARTS = [Part(5, " a"), Part(6, ""), Part(7, " time")]
WHOLE = Completion((5, 6, 7), " a time", "length")
Frames = list[tuple[Type, bytes]]


def response(completion: Completion) -> tuple[Type, bytes]:
    return Type.RESPONSE, Response(completion.encode(), b"receipt").encode()


def streamed(parts: list[Part], *last: tuple[Type, bytes]) -> Frames:
    return [*((Type.PART, part.encode()) for part in parts), *last]


def taken(frames: Frames) -> tuple[list[Part], Completion | None]:
    """What a client takes of these frames, sealed by who may; None where it refuses the rest."""
    client, server, _, server_end = opened()
    client.send(Type.GENERATE, ASKED_FOR.encode())
    server.receive()
    for kind, body in frames:
        assert server._sealing is not None
        Channel(server_end).send(kind, server._sealing.seal(kind, body))
    parts: list[Part] = []
    generation = parts_of(ASKED_FOR, client.receive)
    try:
        while True:
            parts.append(next(generation))
    except StopIteration as end:
        return parts, end.value[1]
    except RemoteProtocolError:
        return parts, None


def test_an_honest_stream_is_taken() -> None:
    """The control of everything below."""
    assert taken(streamed(PARTS, response(WHOLE))) == (PARTS, WHOLE)


@pytest.mark.attack(23, 30)
@pytest.mark.parametrize(
    "completion",
    [
        Completion((5, 6, 8), " a time", "length"),
        Completion((5, 7, 6), " a time", "length"),
        Completion((5, 6), " a time", "length"),
        Completion((5, 6, 7, 8), " a time", "length"),
        Completion((5, 6, 7), " a lime", "length"),
        Completion((5, 6, 7), " a time", "stop"),
        Completion((), "", "stop"),
    ],
    ids=["id", "order", "fewer", "more", "text", "stop", "nothing"],
)
def test_a_response_that_is_not_its_parts_is_refused(completion: Completion) -> None:
    assert taken(streamed(PARTS, response(completion))) == (PARTS, None)


@pytest.mark.attack(27)
def test_more_parts_than_tokens_asked_for_are_refused() -> None:
    assert taken(streamed([*PARTS, Part(8, "")])) == (PARTS, None)


@pytest.mark.attack(10)
@pytest.mark.parametrize("body", [b"", b"\xff", Part(1, "").encode() + b"\0", b"\xa1\x01\x05"])
def test_a_part_that_is_none_is_refused(body: bytes) -> None:
    assert taken([(Type.PART, body)]) == ([], None)


@pytest.mark.attack(29)
def test_an_embedding_is_no_answer_to_a_prompt() -> None:
    embedding = Response(Output((1, 1), bytes(4)).encode(), b"receipt").encode()
    assert taken([(Type.RESPONSE, embedding)]) == ([], None)


@pytest.mark.attack(24)
@pytest.mark.parametrize("count", range(4))
def test_parts_without_a_response_are_no_answer(count: int) -> None:
    assert taken(streamed(PARTS[:count])) == (PARTS[:count], None)


@st.composite
def any_frames(draw: st.DrawFn) -> Frames:
    """Whatever a peer with keys may send: parts, responses over any run of them, other types."""
    sent: list[Part] = []
    frames: Frames = []
    for kind in draw(st.lists(st.sampled_from("ppprxo"), max_size=7)):
        if kind == "p":
            sent.append(Part(draw(st.integers(0, 3)), draw(st.sampled_from(["", "a", "b"]))))
            frames.append((Type.PART, sent[-1].encode()))
        elif kind == "r":
            frames.append(response(Completion.of(sent, ASKED_FOR.max_new_tokens)))
        elif kind == "x":
            some = sent[draw(st.integers(0, len(sent))) :]
            frames.append(response(Completion.of(some, ASKED_FOR.max_new_tokens)))
        else:
            other = draw(st.sampled_from([Type.REPORT, Type.READY, Type.REQUEST, Type.GENERATE]))
            frames.append((other, b""))
    return frames


@pytest.mark.attack(23, 24)
@given(any_frames())
def test_a_client_takes_the_parts_and_only_the_response_over_exactly_them(frames: Frames) -> None:
    parts: list[Part] = []
    whole: Completion | None = None
    for kind, body in frames:
        if kind is Type.PART and len(parts) < ASKED_FOR.max_new_tokens:
            parts.append(Part.decode(body))
            continue
        said = Completion.of(parts, ASKED_FOR.max_new_tokens)
        whole = said if (kind, body) == response(said) else None
        break
    assert taken(frames) == (parts, whole)


# The two kinds of talk.


@pytest.fixture(scope="module")
def enclave() -> Iterator[Enclave]:
    with running() as tee:
        yield tee


def test_a_talk_streams_and_its_receipt_is_kept(enclave: Enclave) -> None:
    talk = AttestedTalk(TimedChannel(enclave.connect()), EXPECTED, forge.NOW)
    assert [part.text for part in talk.generate("count", 3, 0.7, 11)] == [" 0", " 1", " 2"]
    talk.request("after")
    talk.settle()
    assert len(talk.evidence.receipts) == 2
    talk.close()


def test_a_plain_server_streams_the_same() -> None:
    near, far = socket.socketpair()
    server = Plain(cast(Any, Engine()), Stages())
    with near, far:
        thread = threading.Thread(target=server.converse, args=(Channel(far),))
        thread.start()
        talk = PlainTalk(TimedChannel(near))
        for asked in (1, 3):
            assert len(list(talk.generate("count", asked))) == asked
        report = cast(Any, talk.report())
        assert {len(times) for times in report["requests_ns"].values()} == {2}
        talk.close()
        thread.join(TIMEOUT_S)
        assert not thread.is_alive()


def test_a_silent_peer_ends_a_handshake_in_time() -> None:
    near, far = socket.socketpair()
    with near, far, pytest.raises(TimeoutError):
        open_session(TimedChannel(near), EXPECTED, datetime.now(UTC), seconds=0.05)
