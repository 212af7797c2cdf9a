"""What BERT and its descendants share: post-norm layers, their input, pooling, their tensors.

Sources: Vaswani et al., Attention Is All You Need, 2017; Devlin et al., BERT, 2019 (section 3,
appendix A.2); Reimers and Gurevych, Sentence-BERT, 2019 (mean pooling).

Shapes: B texts of L tokens, H hidden, A heads of D = H / A, I intermediate.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import functional

from enclave.models.linear import Linear
from enclave.wire.errors import LocalProtocolError


@dataclass(frozen=True, slots=True)
class Norm:
    """Layer normalisation over the last axis."""

    weight: Tensor  # (H,)
    bias: Tensor  # (H,)
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        return functional.layer_norm(x, self.weight.shape, self.weight, self.bias, self.epsilon)


@dataclass(frozen=True, slots=True)
class Layer:
    """One encoder layer: attention and feed-forward, each with residual, then normalised."""

    heads: int
    query_key_value: Linear  # H -> 3H
    attention_output: Linear  # H -> H
    attention_norm: Norm
    up: Linear  # H -> I
    down: Linear  # I -> H
    output_norm: Norm

    def __call__(self, x: Tensor, attend: Tensor | None) -> Tensor:
        """From x (B, L, H) and which keys may be attended to, (B, 1, 1, L) bool, to (B, L, H)."""
        batch, length, hidden = x.shape
        split = (batch, length, 3, self.heads, hidden // self.heads)
        mixed = self.query_key_value(x).view(split)  # (B, L, 3, A, D)
        query, key, value = mixed.permute(2, 0, 3, 1, 4).unbind(0)  # (B, A, L, D) each
        context = functional.scaled_dot_product_attention(query, key, value, attend)  # (B, A, L, D)
        joined = context.transpose(1, 2).reshape(x.shape)  # (B, L, H)
        x = self.attention_norm(self.attention_output.add(joined, x))  # (B, L, H)
        wide = self.up.gelu(x)  # (B, L, I)
        return self.output_norm(self.down.add(wide, x))  # (B, L, H)


@dataclass(frozen=True, slots=True)
class Trunk:
    """Token ids to one vector a token. `packed` says which kernels it runs on (see `linear`)."""

    max_tokens: int
    packed: bool
    words: Tensor  # (vocabulary, H)
    places: Tensor  # (positions, H), where there are token types plus type 0
    norm: Norm
    layers: tuple[Layer, ...]

    def __call__(self, token_ids: Tensor, mask: Tensor) -> tuple[Tensor, Tensor | None]:
        """B texts of at most L tokens, padded to L; mask is 1 for a token, 0 for padding.

        token_ids (B, L) int64, mask (B, L) of any dtype -> x (B, L, H) and what is no padding,
        (B, L) bool, or None where there is no padding. LocalProtocolError for what no tokenizer
        of ours makes.
        """
        keep = mask.bool() if self._padded(token_ids, mask) else None  # (B, L)
        keep = None if keep is None else keep.to(self.words.device)
        attend = None if keep is None else keep[:, None, None, :]  # (B, 1, 1, L)
        words = functional.embedding(token_ids.to(self.words.device), self.words)  # (B, L, H)
        x = self.norm(words.add_(self.places[: token_ids.shape[1]]))  # (B, L, H)
        for layer in self.layers:
            x = layer(x, attend)  # (B, L, H)
        return x, keep

    def _padded(self, token_ids: Tensor, mask: Tensor) -> bool:
        if token_ids.dtype != torch.int64 or token_ids.dim() != 2 or mask.shape != token_ids.shape:
            _misuse(f"ids {token_ids.dtype} {tuple(token_ids.shape)}, mask {tuple(mask.shape)}")
        if not 1 <= token_ids.shape[1] <= len(self.places):
            _misuse(f"{token_ids.shape[1]} tokens")
        low, high = token_ids.aminmax()
        if not 0 <= int(low) <= int(high) < len(self.words):
            _misuse(f"token ids {int(low)} to {int(high)}")
        if bool(mask.all()):
            return False
        if not bool(mask.any(dim=1).all()):  # a mean over nothing
            _misuse("a text of padding alone")
        return True


@dataclass(frozen=True, slots=True)
class Embedder:
    """A model that says where a text lies: the mean of its tokens' vectors, as a direction."""

    trunk: Trunk

    @property
    def max_tokens(self) -> int:
        """Longest text it takes, special tokens included; longer ones are cut."""
        return self.trunk.max_tokens

    @property
    def packed(self) -> bool:
        """Whether its linear layers were repacked for this CPU."""
        return self.trunk.packed

    def embed(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) int64 ids and their (B, L) mask to (B, H) float32, rows of length 1."""
        with torch.inference_mode():
            return functional.normalize(pool(*self.trunk(token_ids, mask)), dim=-1)  # (B, H)


def pool(x: Tensor, keep: Tensor | None) -> Tensor:
    """Mean over the tokens that are no padding: x (B, L, H), keep (B, L) bool -> (B, H)."""
    if keep is None:
        return x.mean(1)  # (B, H)
    weight = keep.to(x.dtype).unsqueeze(-1)  # (B, L, 1)
    return (x * weight).sum(1) / weight.sum(1)  # (B, H)


def _misuse(found: str) -> NoReturn:
    raise LocalProtocolError(f"cannot embed {found}")
