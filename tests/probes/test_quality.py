"""Probes of tier 3 on servers that answer as they are told to."""

from __future__ import annotations

import dataclasses
import struct
from collections.abc import Callable, Iterator, Sequence
from functools import partial
from hashlib import sha256

import numpy as np
import pytest
import torch

from bench.probes import bert_score, continuation, determinism, embedding, letters, likelihood
from bench.probes.letters import CLASSES, TRAINING
from bench.records import Observation
from bench.weights import corpus
from enclave.wire.messages import Output, Part
from tests.probes import bed as fake

WORKLOAD = dataclasses.replace(fake.WORKLOAD, repeats=4, quality_texts=3, continuation_tokens=2)
SIDES = ("plain", "enclave")
LETTERS = {letter: (label, n) for label in CLASSES for n, letter in enumerate(CLASSES[label])}
TESTING = sum(len(found) - TRAINING for found in CLASSES.values())


def output(*values: float) -> Output:
    return Output((1, len(values)), struct.pack(f"<{len(values)}f", *values))


def made(answer: Callable[[str], Output], boot: int = 1) -> fake.Made:
    """A bed on which both sides answer so."""
    bed = fake.make(WORKLOAD)
    for name in SIDES:
        bed.sides[name].talks[0].answer = lambda texts: answer(texts[0])
    return dataclasses.replace(bed, bed=dataclasses.replace(bed.bed, boot=boot))


def of(found: Sequence[Observation], metric: str, side: str = "enclave") -> list[Observation]:
    return [seen for seen in found if (seen.metric, seen.side) == (metric, side)]


def length(text: str) -> Output:
    return output(float(len(text)))


# Determinism


def test_every_text_is_asked_once_a_side_and_the_last_again_and_again() -> None:
    bed = made(length)
    found = list(determinism.run(bed.bed))
    last = len(determinism.TEXTS) - 1
    for side in SIDES:
        cell = [(seen.block, seen.iteration) for seen in of(found, "output_digest", side)]
        assert cell == [*((n, 0) for n in range(last + 1)), *((last, n) for n in (1, 2, 3))]
        assert bed.sides[side].talks[0].asked == [determinism.TEXTS[block] for block, _ in cell]


def test_a_digest_is_the_first_48_bits_and_exact_in_a_float() -> None:
    answer = length(determinism.TEXTS[0])
    expected = int(sha256(answer.encode()).hexdigest()[:12], 16)
    (first, *_) = of(list(determinism.run(made(length).bed)), "output_digest")
    assert first.value == expected == int(float(expected)) < 2**48


def test_one_bit_in_one_answer_is_another_digest() -> None:
    bed = made(length)
    answers = iter([1.0, 1.0, 1.0000001])
    bed.sides["enclave"].talks[0].answer = lambda texts: output(next(answers, 1.0))
    found = [seen.value for seen in of(list(determinism.run(bed.bed)), "output_digest")]
    assert [value != found[0] for value in found] == [n == 2 for n in range(len(found))]


# Embeddings


def by_class(text: str, wrong: Sequence[str] = ()) -> Output:
    """A direction for each class, a little away from it for each letter."""
    label, number = LETTERS[text]
    index = list(CLASSES).index(label)
    values = np.full(4, 0.01 * (number + 1) / 100)
    values[(index + 1) % 4 if text in wrong else index] = 1.0
    return output(*values)


def test_alike_sides_differ_in_nothing_and_are_right() -> None:
    found = list(embedding.run(made(by_class).bed))
    assert {seen.value for seen in of(found, "max_abs_difference")} == {0.0}
    assert [seen.value for seen in of(found, "embedding_cosine")] == pytest.approx([1.0] * 200)
    for side in SIDES:
        right = of(found, "classification_accuracy", side)
        assert [seen.block for seen in right] == list(range(TESTING))
        assert {seen.value for seen in right} == {100.0}
        classes = [seen.value for seen in of(found, "predicted_class", side)]
        assert classes == [n for n in range(4) for _ in range(TESTING // 4)]


def test_a_component_that_is_off_is_found() -> None:
    bed = made(by_class)
    bed.sides["enclave"].talks[0].answer = lambda texts: (
        output(1.0, 0.5, 0.0, 0.0) if texts[0] == CLASSES["order"][3] else by_class(texts[0])
    )
    found = list(embedding.run(bed.bed))
    apart = {seen.block: seen.value for seen in of(found, "max_abs_difference") if seen.value}
    assert apart == {53: pytest.approx(1.0, abs=1e-3)}
    assert min(of(found, "embedding_cosine"), key=lambda seen: seen.value).block == 53


def test_a_letter_put_into_another_class_is_wrong() -> None:
    wrong = CLASSES["praise"][TRAINING]
    found = list(embedding.run(made(lambda text: by_class(text, [wrong])).bed))
    (miss,) = [seen for seen in of(found, "classification_accuracy") if not seen.value]
    assert miss.block == 2 * TESTING // 4
    assert of(found, "predicted_class")[miss.block].value == 3


def test_letters_that_teach_are_never_judged() -> None:
    wrong = [letter for found in CLASSES.values() for letter in found[TRAINING - 1 : TRAINING]]
    found = list(embedding.run(made(lambda text: by_class(text, wrong)).bed))
    assert {seen.value for seen in of(found, "classification_accuracy")} == {100.0}


def test_embeddings_are_kept_whole_in_the_first_boot_only() -> None:
    assert not of(list(embedding.run(made(by_class, boot=1).bed)), "embedding")
    kept = of(list(embedding.run(made(by_class, boot=0).bed)), "embedding")
    blocks = [start + n for start in (0, 50, 100, 150) for n in range(embedding.KEPT)]
    places = [(block, component) for block in blocks for component in range(4)]
    assert [(seen.block, seen.iteration) for seen in kept] == places
    rows = np.array([seen.value for seen in kept]).reshape(-1, 4)
    assert rows.argmax(axis=1).tolist() == [n for n in range(4) for _ in range(embedding.KEPT)]


def test_the_nearest_centroid_is_that_of_directions() -> None:
    """By hand: centroids at 0 and 60 degrees; (9, 1) would be nearer to (1, 0) by length alone."""
    training = np.array([[[5.0, 0.0], [1.0, 0.0]], [[0.5, 0.75**0.5], [2.0, 12.0**0.5]]])
    testing = np.array([[9.0, 1.0], [0.1, 0.1], [-1.0, 1.0]])  # at 6, 45 and 135 degrees
    assert embedding.nearest(training, testing).tolist() == [0, 1, 1]


def test_an_answer_of_several_rows_is_refused() -> None:
    with pytest.raises(ValueError, match=r"shape \(2, 1\), expected one row"):
        list(embedding.run(made(lambda _: Output((2, 1), bytes(8))).bed))


def test_letters_are_balanced_plain_and_different() -> None:
    assert {len(found) for found in CLASSES.values()} == {50}
    assert len(LETTERS) == 200
    assert all(letter.isascii() or "é" in letter for letter in LETTERS)
    assert TRAINING == letters.TRAINING < 50


# Generators


@pytest.fixture(autouse=True)
def held_out(monkeypatch: pytest.MonkeyPatch) -> None:
    texts = ["too short", *(f"text {n} {'word ' * 40}end" for n in range(4)), "x" * 401]
    monkeypatch.setattr(corpus, "held_out", lambda: texts)


def test_scores_become_nats_and_tokens() -> None:
    found = list(likelihood.run(made(lambda text: output(-12.5, 41.0)).bed))
    for side in SIDES:
        nats = of(found, "negative_log_likelihood", side)
        assert [(seen.block, seen.value) for seen in nats] == [(0, 12.5), (1, 12.5), (2, 12.5)]
        assert {seen.value for seen in of(found, "scored_tokens", side)} == {41.0}


def test_only_texts_of_middling_length_are_scored() -> None:
    bed = made(lambda text: output(-1.0, 2.0))
    list(likelihood.run(bed.bed))
    assert bed.sides["plain"].talks[0].asked == corpus.held_out()[1:4]


def test_embeddings_are_no_scores() -> None:
    with pytest.raises(ValueError, match=r"scores of shape \(1, 3\), expected \(1, 2\)"):
        list(likelihood.run(made(lambda text: output(1.0, 2.0, 3.0)).bed))


def test_too_few_held_out_texts_are_refused() -> None:
    with pytest.raises(ValueError, match="found 4 held-out texts, expected 5"):
        likelihood.texts(5)


class Judge:
    """Scores by the words that both have."""

    def score(self, candidate: str, reference: str) -> float:
        return len(set(candidate.split()) & set(reference.split())) / 10


def test_continuations_are_kept_token_by_token_and_judged(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(continuation, "judge", Judge)
    parts = {
        "plain": [Part(7, "word"), Part(8, " end"), Part(9, "!")],
        "enclave": [Part(7, "word")],
    }
    bed, prompts = made(length), []

    def goes_on(prompt: str, tokens: int, of: list[Part]) -> Iterator[Part]:
        prompts.append(prompt)
        return iter(of[:tokens])

    for name in SIDES:
        monkeypatch.setattr(bed.sides[name].talks[0], "generate", partial(goes_on, of=parts[name]))
    found = list(continuation.run(bed.bed))
    tokens = [(seen.block, seen.value) for seen in of(found, "continuation", "plain")]
    assert tokens == [(block, token) for block in range(3) for token in (7, 8)]
    assert [seen.iteration for seen in of(found, "continuation", "plain")] == [0, 1] * 3
    assert [seen.value for seen in of(found, "continuation")] == [7] * 3
    assert {seen.value for seen in of(found, "bert_score", "plain")} == {0.2}
    assert {seen.value for seen in of(found, "bert_score")} == {0.1}
    assert prompts == [continuation.halves(text)[0] for text in likelihood.texts(3) for _ in SIDES]


def test_the_halves_of_a_text_make_the_text() -> None:
    assert continuation.halves("one two three four five") == ("one two", "three four five")


# BERTScore


@pytest.mark.parametrize(
    ("candidate", "reference", "expected"),
    [
        ([[1, 0]], [[1, 0]], 1.0),
        ([[3, 0], [0, 2]], [[1, 0]], 2 / 3),  # precision (1 + 0) / 2, recall 1
        ([[1, 0]], [[1, 0], [0, 1]], 2 / 3),  # the other way round
        ([[1, 1]], [[1, 0], [0, 1]], 0.5**0.5),  # both cosines are 1 / sqrt(2)
        ([[3, 4], [1, 0]], [[1, 0], [0, 1]], 0.9),  # precision (0.8 + 1) / 2, recall (1 + 0.8) / 2
        ([[1, 0]], [[0, 1]], 0.0),
    ],
)
def test_the_score_is_that_of_the_formula(
    candidate: list[list[float]], reference: list[list[float]], expected: float
) -> None:
    rows = (torch.tensor(found, dtype=torch.float64) for found in (candidate, reference))
    assert bert_score.f1(*rows) == pytest.approx(expected)


def test_nothing_written_is_nothing_matched() -> None:
    assert bert_score.f1(torch.zeros(0, 2), torch.ones(3, 2)) == 0.0


@pytest.fixture(scope="module")
def judge() -> Iterator[bert_score.Judge]:
    try:
        yield bert_score.judge()
    except bert_score.metadata.PackageNotFoundError:
        pytest.skip(f"{bert_score.PACKAGE} is not installed")


@pytest.mark.real
def test_special_tokens_are_not_matched(judge: bert_score.Judge) -> None:
    assert judge._tokens("copper kettle").shape == (2, 384)
    assert judge._tokens("").shape == (0, 384)


@pytest.mark.real
def test_what_says_the_same_scores_higher(judge: bert_score.Judge) -> None:
    reference = "The kettle leaked over the whole table."
    said = [
        "The kettle leaked over the whole table.",
        "Water ran out of the kettle.",
        "Rates rose.",
    ]
    same, near, far = (judge.score(text, reference) for text in said)
    assert same == pytest.approx(1.0)
    assert far < near < 0.95


@pytest.mark.real
def test_weights_of_another_digest_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(bert_score.SHA256, "tokenizer.json", "00" * 32)
    with pytest.raises(ValueError, match=r"tokenizer.json of .*, expected 0000"):
        bert_score.judge()
