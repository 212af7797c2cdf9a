"""Generations over the service: parts that come one by one, and how they may end."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import pytest

from bench.client.channel import TimedChannel
from bench.client.session import Answer, ClientSession, open_session
from enclave.wire import cbor
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError
from enclave.wire.messages import MAX_PROMPT_BYTES, Completion, Part
from tests.enclave.service import Hand, Running, now, serving, until

COUNTED = [Part(0, " 0"), Part(1, " 1"), Part(2, " 2")]


@pytest.fixture
def running(tmp_path: Path) -> Iterator[Running]:
    with serving(tmp_path, sessions=2) as started:
        yield started


def finished(session: ClientSession, asked: int) -> tuple[list[Part], Answer[Completion]]:
    generation = session.generate("count", asked)
    parts: list[Part] = []
    while True:
        try:
            parts.append(next(generation))
        except StopIteration as end:
            return parts, end.value


@pytest.mark.attack(29)
@pytest.mark.parametrize(
    ("asked", "words", "stop"), [(3, 3, "length"), (4, 3, "stop"), (1, 0, "stop")]
)
def test_parts_come_then_an_answer_with_a_receipt_over_it(
    running: Running, asked: int, words: int, stop: str
) -> None:
    running.engine.words = words
    with running.session() as session:
        session.check(session.request(("before",)))
        parts, answer = finished(session, asked)
        assert parts == COUNTED[:words]
        assert answer.output == Completion.of(parts, asked)
        assert answer.output.stop == stop
        session.check(answer)
        session.check(session.request(("after",)))
        assert session.collect()[1].receipts == 3
        session.close()


def test_a_part_is_there_before_the_next_one_is_made(running: Running) -> None:
    running.engine.go = threading.Semaphore(0)
    with running.session() as session:
        generation = session.generate("count", 3)
        for part in COUNTED:
            running.engine.go.release()
            assert next(generation) == part
        assert list(generation) == []


def test_times_of_a_stream_add_up_in_one_row_each(running: Running) -> None:
    with running.session() as session:
        for asked in (1, 3):
            finished(session, asked)
        body = cast(Any, cbor.decode(session.collect()[1].body))
    times = body["requests_ns"]
    assert {len(row) for row in times.values()} == {2}
    assert {"opened", "inferred", "signed", "sealed", "sent"} == set(times)


@pytest.mark.attack(44)
def test_parts_have_the_size_of_a_bucket_whatever_their_text(tmp_path: Path) -> None:
    with serving(tmp_path, response_bucket_bytes=64) as running, running.connect() as stream:
        told: list[int] = []
        session = open_session(TimedChannel(stream, pace=told.append), running.expected, now())
        running.engine.words = 300  # numbers of one to three digits
        told.clear()
        parts = list(session.generate("count", 300))
    assert len(parts) == 300
    assert set(told[1:301]) == {64 + 16}  # after the prompt, the bodies


@pytest.mark.attack(28)
def test_a_peer_that_hangs_up_ends_its_generation(running: Running) -> None:
    running.engine.words, running.engine.go = 4096, threading.Semaphore(1)
    with running.session() as session:
        next(session.generate("count", 4096))
    running.engine.go.release(4095)
    until(lambda: running.engine.left == 1)
    running.engine.go = None
    running.settle()
    assert running.answers()


@pytest.mark.attack(45, 46)
def test_an_error_amid_the_parts_looks_like_any_other(
    running: Running, capfd: pytest.CaptureFixture[str]
) -> None:
    running.engine.fault = ValueError("secret prompt")
    with running.session() as session:
        generation = session.generate("count", 3)
        assert [next(generation) for _ in COUNTED] == COUNTED
        with pytest.raises(RemoteProtocolError, match="alert"):
            next(generation)
    assert "secret" not in "".join(capfd.readouterr())
    running.engine.fault = None
    running.settle()
    assert running.answers()


@pytest.mark.attack(27)
def test_a_generation_ends_with_its_session(tmp_path: Path) -> None:
    clock = Hand()
    with serving(tmp_path, clock, session_seconds=60) as running, running.session() as session:
        running.engine.words, running.engine.go = 9, threading.Semaphore(1)
        generation = session.generate("count", 9)
        assert next(generation) == COUNTED[0]
        clock.now += 61
        running.engine.go.release()
        with pytest.raises(RemoteProtocolError, match="alert"):
            next(generation)


def test_a_prompt_over_the_limit_never_reaches_the_tokenizer(running: Running) -> None:
    running.engine.go = threading.Semaphore(0)
    with running.session() as session, pytest.raises(RemoteProtocolError, match="alert"):
        next(session.generate("x" * (MAX_PROMPT_BYTES + 1), 1))


def test_a_generation_that_is_not_taken_whole_leaves_a_session_of_no_use(running: Running) -> None:
    with running.session() as session:
        generation = session.generate("count", 3)
        next(generation)
        generation.close()
        with pytest.raises(LocalProtocolError, match="REQUEST may not be sent when GENERATING"):
            session.request(("another",))
    running.settle()


@pytest.mark.attack(28)
def test_a_client_waits_no_longer_than_it_says(running: Running) -> None:
    running.engine.go = threading.Semaphore(0)
    with running.session() as session, pytest.raises(TimeoutError):
        next(session.generate("count", 1, seconds=0.05))
    running.engine.go.release()
