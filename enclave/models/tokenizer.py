"""Texts to token ids and back: a thin layer over the `tokenizers` library.

A tokenizer.json carries its own truncation and padding. That of MiniLM-L6-v2 pads everything to 128
tokens, which would make each short text cost as much as a long one; both are replaced here.
"""

from __future__ import annotations

import os
from array import array

# Without its thread pool, the library's batches are its fastest way for a single text too. Read at
# the first batch.
os.environ["TOKENIZERS_PARALLELISM"] = "false"

import tokenizers
import torch
from tokenizers.decoders import DecodeStream
from torch import Tensor

from enclave.wire.errors import RemoteProtocolError

MAX_TOKENS = 256  # sentence-transformers' max_seq_length for MiniLM-L6-v2, special tokens included
PAD = "[PAD]"


class Decoder:
    """The text of tokens that come one by one, special tokens left out."""

    __slots__ = ("_stream", "_tokenizer")

    def __init__(self, tokenizer: tokenizers.Tokenizer) -> None:
        self._tokenizer = tokenizer
        self._stream = DecodeStream(skip_special_tokens=True)

    def step(self, token: int) -> str:
        """Text that became complete with this token; none within a character."""
        return self._stream.step(self._tokenizer, token) or ""


class Tokenizer:
    """Encodes and decodes; safe to share between threads, for nothing changes once it is made."""

    def __init__(self, data: bytes, *, max_tokens: int = MAX_TOKENS) -> None:
        """`data` is a tokenizer.json; RemoteProtocolError where it is none."""
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(data.decode())
        except Exception as error:  # the library raises bare Exception
            raise RemoteProtocolError(f"not a tokenizer.json: {error}"[:500]) from None
        self._tokenizer.no_padding()
        self._tokenizer.enable_truncation(max_tokens)
        self._pad: int | None = self._tokenizer.token_to_id(PAD)

    def encode(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """B texts to ids and mask, (B, L) int64 each; L is the longest text's, at most max_tokens.

        An empty text is its special tokens. RemoteProtocolError for no text at all, for text that
        is not Unicode (lone surrogates) or has no token, and where padding has none.
        """
        if not texts:
            raise RemoteProtocolError("found no text, expected at least one")
        rows = self._rows(texts)
        lengths = [len(row) for row in rows]
        longest = max(lengths)
        if min(lengths) == longest:
            return _matrix(rows), torch.ones((len(rows), longest), dtype=torch.int64)
        if self._pad is None:
            raise RemoteProtocolError(f"tokenizer.json has no token {PAD} to pad a batch with")
        ids = _matrix([row + [self._pad] * (longest - len(row)) for row in rows])  # (B, L)
        return ids, (torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)).long()

    def encode_prompt(self, text: str) -> list[int]:
        """Ids with the special tokens of the file's own template, cut at max_tokens.

        RemoteProtocolError for text that is not Unicode or has no token.
        """
        return self._rows([text])[0]

    def decoder(self) -> Decoder:
        """For the tokens of one answer."""
        return Decoder(self._tokenizer)

    def _rows(self, texts: list[str]) -> list[list[int]]:
        try:
            rows = [found.ids for found in self._tokenizer.encode_batch_fast(texts)]
        except TypeError as error:
            raise RemoteProtocolError(f"text that is not Unicode: {error}") from None
        if not all(rows):
            raise RemoteProtocolError("found a text of no tokens, expected at least one")
        return rows


def _matrix(rows: list[list[int]]) -> Tensor:
    """Rows of one length to int64; `torch.tensor` looks at each number five times as long."""
    flat = array("q", [number for row in rows for number in row])
    return torch.frombuffer(flat, dtype=torch.int64).view(len(rows), -1)
