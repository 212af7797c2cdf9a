"""The engine with models small enough to see through: turns, batches, streams, faults."""

from __future__ import annotations

import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any, cast

import pytest
import torch
from torch import Tensor

from enclave.models import Encoder, Generator
from enclave.models.engine import Engine
from enclave.models.worker import Worker
from enclave.wire.errors import RemoteProtocolError
from enclave.wire.messages import Generate, Output, Part
from tests.enclave.tiny import tiny

SECONDS = 20.0


def number(letter: str) -> int:
    """Its id, one of the tiny model's 90, and not that of padding."""
    return ord(letter) % 89 + 1


class Letters:
    """A tokenizer of letters; a completion's text comes in pairs of letters."""

    def encode(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        longest = max(map(len, texts))
        ids = [[*map(number, text)] + [0] * (longest - len(text)) for text in texts]
        return torch.tensor(ids), (torch.tensor(ids) > 0).long()

    def encode_prompt(self, text: str) -> list[int]:
        return [ord(letter) for letter in text]

    def decoder(self) -> Letters:
        self._held = ""
        return self

    def step(self, token: int) -> str:
        self._held += chr(token)
        if len(self._held) < 2:
            return ""
        text, self._held = self._held, ""
        return text


class Echo:
    """Goes on with the prompt itself, as far as it goes; a text is as likely as it is short."""

    max_tokens, packed = 100, False

    def __init__(self) -> None:
        self.asked: dict[str, float] = {}
        self.threads: set[str] = set()
        self.sampled = 0

    def generate(self, prompt: list[int], /, **asked: Any) -> Iterator[int]:
        self.asked = asked
        if len(prompt) + asked["max_new_tokens"] > self.max_tokens:
            raise RemoteProtocolError("too long")
        for token in prompt[: asked["max_new_tokens"]]:
            self.threads.add(threading.current_thread().name)
            self.sampled += 1
            yield token

    def score(self, ids: list[int], /) -> tuple[float, int]:
        self.threads.add(threading.current_thread().name)
        return -1.5 * len(ids), len(ids) - 1


class Gate:
    """An encoder that waits to be let through, and notes who came together."""

    max_tokens, packed = 100, False

    def __init__(self) -> None:
        self.passes: list[list[int]] = []
        self.entered, self.go = threading.Semaphore(0), threading.Semaphore(0)

    def embed(self, ids: Tensor, mask: Tensor, /) -> Tensor:
        self.entered.release()
        assert self.go.acquire(timeout=SECONDS)
        self.passes.append(mask.sum(1).tolist())
        if bool((ids == number("!")).any()):
            raise ValueError("a text it cannot do")
        return ids[:, :1].float()


@pytest.fixture
def worker() -> Iterator[Worker]:
    started = Worker(1)
    yield started
    started.close()


def engine(model: Any, worker: Worker, batch: int = 1) -> Engine:
    return Engine(model, cast(Any, Letters()), worker, weights_bytes=1, batch=batch)


def values(output: Output) -> Tensor:
    return torch.frombuffer(bytearray(output.values), dtype=torch.float32).view(output.shape)


def test_what_a_model_is_shows_in_what_it_does() -> None:
    assert isinstance(tiny(), Encoder) and not isinstance(tiny(), Generator)
    assert isinstance(Echo(), Generator) and not isinstance(Echo(), Encoder)


def test_a_model_of_the_other_kind_is_refused(worker: Worker) -> None:
    with pytest.raises(RemoteProtocolError, match="generates none"):
        next(engine(tiny(), worker).generate(Generate("prompt", 1, 0, 0)))


# Together.


def waiting(found: Engine, count: int) -> None:
    """Wait until so many requests are in the queue."""
    for _ in range(10_000):
        if len(found._waiting) == count:
            return
        threading.Event().wait(0.001)
    raise AssertionError(f"{len(found._waiting)} wait, expected {count}")


def together(batch: int, texts: Sequence[tuple[str, ...]]) -> tuple[list[list[int]], list[Any]]:
    """The passes made for one request and then, while it is under way, these in this order."""
    gate, worker = Gate(), Worker(1)
    asked = engine(gate, worker, batch)

    def ask(request: tuple[str, ...]) -> Any:
        try:
            return values(asked.run(request)).flatten().tolist()
        except ValueError as error:
            return error

    with ThreadPoolExecutor(len(texts) + 1) as pool:
        first = pool.submit(ask, ("first",))
        assert gate.entered.acquire(timeout=SECONDS)
        others = []
        for count, request in enumerate(texts, start=1):
            others.append(pool.submit(ask, request))
            waiting(asked, count)
        gate.go.release(100)
        assert first.result(SECONDS) == [number("f")]
        answers = [other.result(SECONDS) for other in others]
    worker.close()
    return gate.passes[1:], answers


ABC = [("abcdef",), ("b", "bbbb"), ("ccccc",)]
FIRSTS = [[number("a")], [number("b")] * 2, [number("c")]]


@pytest.mark.parametrize(
    ("batch", "passes"),
    [
        (1, [[6], [1, 4], [5]]),
        (2, [[6, 5], [1, 4]]),
        (3, [[6, 1, 4], [5]]),
        (4, [[6, 1, 4, 5]]),
        (64, [[6, 1, 4, 5]]),
    ],
)
def test_what_waits_is_one_pass_as_far_as_a_batch_goes(batch: int, passes: list[list[int]]) -> None:
    assert together(batch, ABC) == (passes, FIRSTS)


def test_texts_of_other_lengths_wait_for_their_own_turn() -> None:
    texts = [("x" * length,) for length in (4, 8, 16, 7, 15, 3, 5)]
    passes, _ = together(8, texts)
    assert passes == [[4, 7, 5], [8, 15], [16], [3]]


def test_a_text_that_fails_fails_alone() -> None:
    passes, (one, two, three) = together(8, [("a",), ("!",), ("c",)])
    assert (one, three) == ([number("a")], [number("c")])
    assert isinstance(two, ValueError)
    assert passes == [[1, 1, 1], [1], [1], [1]]


def test_a_batch_gives_what_each_text_alone_gives(worker: Worker) -> None:
    texts = ["a", "some text", "another one, longer", "zz"]
    model = tiny()
    alone = engine(model, worker)
    expected = torch.cat([values(alone.run((text,))) for text in texts])
    ids, mask = Letters().encode(texts)
    asked = engine(model, worker, batch=8)
    stopped, go = threading.Event(), threading.Event()

    def stop() -> None:
        stopped.set()
        assert go.wait(SECONDS)

    worker.submit(stop)
    assert stopped.wait(SECONDS)
    with ThreadPoolExecutor(len(texts)) as pool:
        futures = []
        for count, text in enumerate(texts, start=1):
            futures.append(pool.submit(asked.run, (text,)))
            waiting(asked, count)
        go.set()
        found = torch.cat([values(future.result(SECONDS)) for future in futures])
    torch.testing.assert_close(found, expected, atol=1e-5, rtol=0)
    torch.testing.assert_close(found, model.embed(ids, mask), atol=1e-5, rtol=0)


def test_all_passes_run_on_one_thread_with_its_number_of_threads(worker: Worker) -> None:
    names: list[str] = []

    class Named(Gate):
        def embed(self, ids: Tensor, mask: Tensor, /) -> Tensor:
            names.append(f"{threading.current_thread().name} {torch.get_num_threads()}")
            return ids[:, :1].float()

    asked = engine(Named(), worker)
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(asked.run, [("text",)] * 12))
    assert set(names) == {"inference 1"}
    assert asked.parity()["threads"] == 1


def test_moments_are_heard_in_order(worker: Worker) -> None:
    heard: list[str] = []
    engine(tiny(), worker).run(("text",), heard.append)
    assert heard == ["tokenized", "waited", "inferred"]
    heard.clear()
    engine(Echo(), worker).run(("text",), heard.append)
    assert heard == ["tokenized", "waited", "inferred"]
    heard.clear()
    list(engine(Echo(), worker).generate(Generate("ab", 2, 0, 0), heard.append))
    assert heard == ["tokenized", "waited", "inferred", "inferred", "inferred"]


# Scores.


def test_where_a_model_generates_a_row_says_how_likely_a_text_is(worker: Worker) -> None:
    model = Echo()
    found = values(engine(model, worker, batch=8).run(("ab", "c", "wxyz")))
    assert found.tolist() == [[-3, 1], [-1.5, 0], [-6, 3]]
    assert model.threads == {"inference"}


def test_a_text_that_cannot_be_scored_fails_its_request(worker: Worker) -> None:
    class Refusing(Echo):
        def score(self, ids: list[int], /) -> tuple[float, int]:
            raise RemoteProtocolError("not this one")

    with pytest.raises(RemoteProtocolError, match="not this one"):
        engine(Refusing(), worker).run(("text",))


# Streams.


def test_parts_are_tokens_and_the_text_they_complete(worker: Worker) -> None:
    model = Echo()
    parts = list(engine(model, worker).generate(Generate("abcde", 4, 700, 11)))
    assert parts == [Part(97, ""), Part(98, "ab"), Part(99, ""), Part(100, "cd")]
    assert model.asked == {"max_new_tokens": 4, "temperature": 0.7, "seed": 11}
    assert model.threads == {"inference"}


def test_a_refusal_of_the_model_reaches_who_asked_and_nobody_else(worker: Worker) -> None:
    asked = engine(Echo(), worker)
    with pytest.raises(RemoteProtocolError, match="too long"):
        list(asked.generate(Generate("x" * 90, 11, 0, 0)))
    assert len(list(asked.generate(Generate("x" * 90, 10, 0, 0)))) == 10


def test_the_model_does_not_wait_for_who_takes_the_parts(worker: Worker) -> None:
    model = Echo()
    parts = engine(model, worker).generate(Generate("x" * 50, 50, 0, 0))
    next(parts)
    worker.call(lambda: None)  # its turn comes after the generation
    assert model.sampled == 50
    assert len(list(parts)) == 49


def test_closing_a_stream_stops_the_model(worker: Worker) -> None:
    model = Echo()
    asked = engine(model, worker)
    resumed = threading.Event()
    endless = model.generate

    def slow(prompt: list[int], /, **options: Any) -> Iterator[int]:
        for token in endless(prompt, **options):
            yield token
            assert resumed.wait(SECONDS)

    model.generate = slow  # type: ignore[method-assign]
    parts = asked.generate(Generate("x" * 50, 50, 0, 0))
    next(parts)
    cast(Any, parts).close()
    resumed.set()
    worker.call(lambda: None)
    assert model.sampled <= 2


@pytest.mark.parametrize("model", [tiny, Echo])
def test_a_warm_up_is_the_models_own_kind(model: Any, worker: Worker) -> None:
    engine(model(), worker).warm_up()


def test_what_is_raised_on_the_worker_is_raised_here(worker: Worker) -> None:
    with pytest.raises(ZeroDivisionError):
        worker.call(lambda: 1 // 0)
    assert worker.call(lambda: 5) == 5
