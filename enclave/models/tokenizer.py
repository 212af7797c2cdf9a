"""Texts to token ids: a thin layer over the `tokenizers` library.

A tokenizer.json carries its own truncation and padding. That of MiniLM-L6-v2 pads everything to 128
tokens, which would make each short text cost as much as a long one; both are replaced here.
"""

from __future__ import annotations

import tokenizers
import torch
from torch import Tensor

from enclave.wire.errors import RemoteProtocolError

MAX_TOKENS = 256  # sentence-transformers' max_seq_length for MiniLM-L6-v2, special tokens included
PAD = "[PAD]"


class Tokenizer:
    """Encodes batches; safe to share between threads, since nothing changes after construction."""

    def __init__(self, data: bytes, *, max_tokens: int = MAX_TOKENS) -> None:
        """`data` is a tokenizer.json; RemoteProtocolError where it is none."""
        try:
            self._tokenizer = tokenizers.Tokenizer.from_str(data.decode())
        except Exception as error:  # the library raises bare Exception
            raise RemoteProtocolError(f"not a tokenizer.json: {error}"[:500]) from None
        pad = self._tokenizer.token_to_id(PAD)
        if pad is None:
            raise RemoteProtocolError(f"tokenizer.json has no token {PAD}")
        self._tokenizer.enable_truncation(max_tokens)
        self._tokenizer.enable_padding(pad_id=pad, pad_token=PAD)  # to a batch's longest

    def encode(self, texts: list[str]) -> tuple[Tensor, Tensor]:
        """B texts to ids and mask, (B, L) int64 each; L is the longest text's, at most max_tokens.

        An empty text is its special tokens. RemoteProtocolError for no text at all and for text
        that is not Unicode (lone surrogates).
        """
        if not texts:
            raise RemoteProtocolError("found no text, expected at least one")
        try:
            # one text alone stays on this thread: a batch would start the library's thread pool
            single = len(texts) == 1
            found = [self._tokenizer.encode(texts[0])] if single else self._batch(texts)
        except TypeError as error:
            raise RemoteProtocolError(f"text that is not Unicode: {error}") from None
        ids = torch.tensor([encoding.ids for encoding in found])  # (B, L) int64
        mask = torch.tensor([encoding.attention_mask for encoding in found])  # (B, L) int64
        return ids, mask

    def _batch(self, texts: list[str]) -> list[tokenizers.Encoding]:
        return self._tokenizer.encode_batch(texts)
