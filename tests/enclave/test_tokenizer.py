"""Tokens: truncation, padding, and text that is none."""

from __future__ import annotations

import json

import pytest
import tokenizers
import torch

from bench.weights import seeded
from enclave.models.tokenizer import Tokenizer
from enclave.wire.errors import RemoteProtocolError

PAD, CLS, SEP = 0, 2, 3


def published(**changes: object) -> bytes:
    """A tokenizer.json with the settings that MiniLM's carries: pad and cut to 128."""
    made = tokenizers.Tokenizer.from_str(seeded.tokenizer().decode())
    made.enable_padding(length=128)
    made.enable_truncation(128)
    return json.dumps(json.loads(made.to_str()) | changes).encode()


@pytest.fixture(scope="module")
def tokenizer() -> Tokenizer:
    return Tokenizer(published())


def test_the_files_own_padding_is_switched_off(tokenizer: Tokenizer) -> None:
    ids, mask = tokenizer.encode(["abc"])
    assert ids.shape == mask.shape == (1, 5)
    assert ids.dtype == mask.dtype == torch.int64
    assert bool(mask.all())


def test_a_batch_is_padded_to_its_longest_text_only(tokenizer: Tokenizer) -> None:
    ids, mask = tokenizer.encode(["a", "abcdef", ""])
    assert ids.shape == (3, 8)
    assert mask.sum(1).tolist() == [3, 8, 2]
    assert ids[0, 3:].tolist() == [PAD] * 5
    assert torch.equal(mask, (ids != PAD).long())


def test_an_empty_text_is_its_special_tokens(tokenizer: Tokenizer) -> None:
    ids, _ = tokenizer.encode([""])
    assert ids.tolist() == [[CLS, SEP]]


@pytest.mark.parametrize(
    ("characters", "tokens"), [(253, 255), (254, 256), (255, 256), (9999, 256)]
)
def test_the_limit_counts_special_tokens(
    tokenizer: Tokenizer, characters: int, tokens: int
) -> None:
    ids, _ = tokenizer.encode(["a " * characters])
    assert ids.shape == (1, tokens)
    assert ids[0, [0, -1]].tolist() == [CLS, SEP]


def test_the_limit_is_an_argument() -> None:
    ids, _ = Tokenizer(published(), max_tokens=16).encode(["a " * 99, "a"])
    assert ids.shape == (2, 16)


def test_one_text_has_the_same_tokens_alone_and_in_a_batch(tokenizer: Tokenizer) -> None:
    texts = ["What is it?", "Nothing, 100 % nothing.", "\x00 caf\u00e9 \N{GRINNING FACE}"]
    ids, mask = tokenizer.encode(texts)
    for row, kept, text in zip(ids, mask, texts, strict=True):
        assert torch.equal(row[kept.bool()], tokenizer.encode([text])[0][0])


@pytest.mark.parametrize("texts", [["a\ud800"], ["fine", "\udfff"]])
def test_a_lone_surrogate_is_refused(tokenizer: Tokenizer, texts: list[str]) -> None:
    with pytest.raises(RemoteProtocolError, match="not Unicode"):
        tokenizer.encode(texts)


def test_no_text_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(RemoteProtocolError, match="no text"):
        tokenizer.encode([])


@pytest.mark.parametrize("data", [b"", b"{}", b"\xff\xfe", b"[]", published()[:-20]])
def test_bytes_that_are_no_tokenizer_are_refused(data: bytes) -> None:
    with pytest.raises(RemoteProtocolError, match=r"not a tokenizer\.json"):
        Tokenizer(data)


def test_a_vocabulary_without_padding_takes_no_batch_that_needs_it() -> None:
    made = json.loads(published(padding=None, added_tokens=[]))
    made["model"]["vocab"]["[PADDING]"] = made["model"]["vocab"].pop("[PAD]")
    tokenizer = Tokenizer(json.dumps(made).encode())
    assert tokenizer.encode(["ab", "cd"])[0].shape == (2, 4)
    with pytest.raises(RemoteProtocolError, match="has no token"):
        tokenizer.encode(["ab", "a"])


def test_a_prompt_carries_the_special_tokens_of_its_file(tokenizer: Tokenizer) -> None:
    ids, _ = tokenizer.encode(["abc"])
    assert tokenizer.encode_prompt("abc") == ids[0].tolist()
    assert len(tokenizer.encode_prompt("a " * 999)) == 256


def bytewise(**changes: object) -> bytes:
    """A byte-level tokenizer without merges or special tokens: one token for each byte."""
    alphabet = sorted(tokenizers.pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {character: index for index, character in enumerate(alphabet)}
    made = tokenizers.Tokenizer(tokenizers.models.BPE(vocabulary, []))
    made.pre_tokenizer = tokenizers.pre_tokenizers.ByteLevel(add_prefix_space=False)
    made.decoder = tokenizers.decoders.ByteLevel()
    return json.dumps(json.loads(made.to_str()) | changes).encode()


def test_a_character_comes_with_the_last_of_its_tokens() -> None:
    tokenizer = Tokenizer(bytewise())
    decoder = tokenizer.decoder()
    ids = tokenizer.encode_prompt("a\N{GRINNING FACE}b")
    assert [decoder.step(token) for token in ids] == ["a", "", "", "", "\N{GRINNING FACE}", "b"]


def test_two_answers_are_decoded_apart() -> None:
    tokenizer = Tokenizer(bytewise())
    face = tokenizer.encode_prompt("\N{GRINNING FACE}")
    one, two = tokenizer.decoder(), tokenizer.decoder()
    assert [one.step(token) for token in face[:3]] == ["", "", ""]
    assert [two.step(token) for token in face] == ["", "", "", "\N{GRINNING FACE}"]


@pytest.mark.parametrize("call", ["encode", "encode_prompt"])
def test_a_text_of_no_tokens_is_refused(call: str) -> None:
    tokenizer = Tokenizer(bytewise())
    with pytest.raises(RemoteProtocolError, match="no tokens"):
        getattr(tokenizer, call)([""] if call == "encode" else "")


def test_a_prompt_that_is_not_unicode_is_refused(tokenizer: Tokenizer) -> None:
    with pytest.raises(RemoteProtocolError, match="not Unicode"):
        tokenizer.encode_prompt("a\ud800")
