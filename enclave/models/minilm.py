"""MiniLM: a BERT encoder with mean pooling, as sentence-transformers runs it.

Sources: Devlin et al., BERT, 2019 (section 3, appendix A.2); Wang et al., MiniLM, 2020; Reimers
and Gurevych, Sentence-BERT, 2019 (mean pooling). `Config` makes it MiniLM-L6, -L12 or BERT-base.

Shapes: B texts of L tokens, H hidden, A heads of D = H / A, I intermediate.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import NoReturn

import torch
from torch import Tensor
from torch.nn import functional

from enclave.models import Release, safetensors
from enclave.models.linear import Linear, Packed, Plain, packing_works
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError

LAYER = "encoder.layer"
# In published files and of no use here: positions 0..511, and a classifier's pooling.
UNUSED = frozenset({"embeddings.position_ids", "pooler.dense.weight", "pooler.dense.bias"})


@dataclass(frozen=True, slots=True)
class Config:
    """Names and meanings of Hugging Face's config.json; the defaults are MiniLM-L6-v2.

    `max_seq_length` counts tokens, special ones included (sentence_bert_config.json).
    """

    vocab_size: int = 30522
    hidden_size: int = 384
    num_hidden_layers: int = 6
    num_attention_heads: int = 12
    intermediate_size: int = 1536
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    max_seq_length: int = 256
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Config:
        """Check a map from outside: known names, exact types, an encoder this file computes."""
        defaults = asdict(cls())
        for name, value in values.items():
            if name not in defaults:
                _refuse(f"config {name}", value, f"only {', '.join(defaults)}")
            if type(value) is not type(defaults[name]):
                _refuse(f"config {name}", repr(value), type(defaults[name]).__name__)
            if type(value) is int and not 1 <= value <= 1 << 24:
                _refuse(f"config {name}", value, "1 to 2**24")
        config = cls(**(defaults | dict(values)))
        config._check()
        return config

    def _check(self) -> None:
        if self.hidden_size % self.num_attention_heads:
            _refuse("config hidden_size", self.hidden_size, "a multiple of num_attention_heads")
        if not 2 <= self.max_seq_length <= self.max_position_embeddings:
            _refuse("config max_seq_length", self.max_seq_length, "2 to max_position_embeddings")
        if self.num_hidden_layers > 128:
            _refuse("config num_hidden_layers", self.num_hidden_layers, "at most 128")
        if not 0 < self.layer_norm_eps < 1:
            _refuse("config layer_norm_eps", self.layer_norm_eps, "more than 0, less than 1")
        if self.hidden_act != "gelu":
            _refuse("config hidden_act", self.hidden_act, "gelu")


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
class Model:
    """A loaded encoder. `packed` says which kernels it runs on (see `linear`)."""

    config: Config
    packed: bool
    words: Tensor  # (vocab_size, H)
    places: Tensor  # (max_position_embeddings, H): position plus token type 0
    norm: Norm
    layers: tuple[Layer, ...]

    @property
    def max_tokens(self) -> int:
        """Longest text it takes, special tokens included; longer ones are cut."""
        return self.config.max_seq_length

    def embed(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """Embed B texts of at most L tokens, padded to L; mask is 1 for a token, 0 for padding.

        token_ids (B, L) int64, mask (B, L) of any dtype -> (B, H) float32, rows of length 1.
        """
        with torch.inference_mode():
            padded = self._padded(token_ids, mask)
            keep = mask.bool() if padded else None  # (B, L)
            attend = None if keep is None else keep[:, None, None, :]  # (B, 1, 1, L)
            words = functional.embedding(token_ids, self.words)  # (B, L, H)
            x = self.norm(words.add_(self.places[: token_ids.shape[1]]))  # (B, L, H)
            for layer in self.layers:
                x = layer(x, attend)  # (B, L, H)
            return functional.normalize(pool(x, keep), dim=-1)  # (B, H)

    def _padded(self, token_ids: Tensor, mask: Tensor) -> bool:
        """Whether there is padding; LocalProtocolError for what no tokenizer of ours makes."""
        if token_ids.dtype != torch.int64 or token_ids.dim() != 2 or mask.shape != token_ids.shape:
            _misuse(f"ids {token_ids.dtype} {tuple(token_ids.shape)}, mask {tuple(mask.shape)}")
        if not 1 <= token_ids.shape[1] <= self.config.max_position_embeddings:
            _misuse(f"{token_ids.shape[1]} tokens")
        low, high = token_ids.aminmax()
        if not 0 <= int(low) <= int(high) < self.config.vocab_size:
            _misuse(f"token ids {int(low)} to {int(high)}")
        if bool(mask.all()):
            return False
        if not bool(mask.any(dim=1).all()):  # a mean over nothing
            _misuse("a text of padding alone")
        return True


def pool(x: Tensor, keep: Tensor | None) -> Tensor:
    """Mean over the tokens that are no padding: x (B, L, H), keep (B, L) bool -> (B, H)."""
    if keep is None:
        return x.mean(1)  # (B, H)
    weight = keep.to(x.dtype).unsqueeze(-1)  # (B, L, 1)
    return (x * weight).sum(1) / weight.sum(1)  # (B, H)


def dimensions(values: Mapping[str, object]) -> dict[str, int | float | str]:
    """What a config.json says of this architecture, checked, defaults filled in.

    The rest of a config.json is ignored but for what would make it another architecture.
    """
    for name, value in (("model_type", "bert"), ("position_embedding_type", "absolute")):
        if values.get(name, value) != value:
            _refuse(f"config {name}", values[name], value)
    names = {field.name for field in fields(Config)}
    return asdict(Config.of({name: value for name, value in values.items() if name in names}))


def shapes(dimensions: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every float32 tensor that is read."""
    config = Config.of(dimensions)
    hidden, wide = config.hidden_size, config.intermediate_size
    found: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (config.vocab_size, hidden),
        "embeddings.position_embeddings.weight": (config.max_position_embeddings, hidden),
        "embeddings.token_type_embeddings.weight": (config.type_vocab_size, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
    }
    for number in range(config.num_hidden_layers):
        for name, outputs, inputs in (
            ("attention.self.query", hidden, hidden),
            ("attention.self.key", hidden, hidden),
            ("attention.self.value", hidden, hidden),
            ("attention.output.dense", hidden, hidden),
            ("attention.output.LayerNorm", hidden, 0),
            ("intermediate.dense", wide, hidden),
            ("output.dense", hidden, wide),
            ("output.LayerNorm", hidden, 0),
        ):
            weight = (outputs, inputs) if inputs else (outputs,)
            found[f"{LAYER}.{number}.{name}.weight"] = weight
            found[f"{LAYER}.{number}.{name}.bias"] = (outputs,)
    return found


def check(weights: memoryview, dimensions: Mapping[str, object]) -> None:
    """Whether a safetensors header holds exactly the tensors of these dimensions."""
    _entries(weights, dimensions)


def load(
    weights: bytearray | memoryview,
    dimensions: Mapping[str, object],
    *,
    packed: bool | None = None,
    release: Release | None = None,
) -> Model:
    """An encoder on views of `weights`; packed kernels wherever they work, unless told.

    Linear weights are copied where they are fused or packed, one at a time, and `release(start,
    length)` then hears which bytes of `weights` are no longer looked at: an owner that drops them
    holds the weights once, not one and a half times.
    """
    config, entries = Config.of(dimensions), _entries(weights, dimensions)
    packs = packing_works() if packed is None else packed
    parts = _Parts(config, weights, entries, packs, release)
    positions = parts.tensor("embeddings.position_embeddings.weight")
    places = positions + parts.tensor("embeddings.token_type_embeddings.weight")[0]
    layers = tuple(parts.layer(f"{LAYER}.{n}") for n in range(config.num_hidden_layers))
    words = parts.tensor("embeddings.word_embeddings.weight")
    return Model(config, packs, words, places, parts.norm("embeddings.LayerNorm"), layers)


@dataclass(frozen=True, slots=True)
class _Parts:
    """A file's tensors, put together by name."""

    config: Config
    weights: bytearray | memoryview
    entries: Mapping[str, safetensors.Entry]
    packs: bool
    release: Release | None

    def tensor(self, name: str) -> Tensor:
        return safetensors.view(self.weights, self.entries[name])

    def norm(self, name: str) -> Norm:
        weight, bias = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        return Norm(weight, bias, self.config.layer_norm_eps)

    def linear(self, *names: str) -> Linear:
        """Several layers of the same input are fused into one."""
        weight = _joined([self.tensor(f"{name}.weight") for name in names])
        bias = _joined([self.tensor(f"{name}.bias") for name in names])
        layer = Packed(weight, bias) if self.packs else Plain(weight, bias)
        if self.release and (self.packs or len(names) > 1):
            for entry in (self.entries[f"{name}.weight"] for name in names):
                self.release(entry.start, entry.stop - entry.start)
        return layer

    def layer(self, name: str) -> Layer:
        attention = f"{name}.attention"
        return Layer(
            self.config.num_attention_heads,
            self.linear(*(f"{attention}.self.{part}" for part in ("query", "key", "value"))),
            self.linear(f"{attention}.output.dense"),
            self.norm(f"{attention}.output.LayerNorm"),
            self.linear(f"{name}.intermediate.dense"),
            self.linear(f"{name}.output.dense"),
            self.norm(f"{name}.output.LayerNorm"),
        )


def _entries(
    weights: bytearray | memoryview, dimensions: Mapping[str, object]
) -> dict[str, safetensors.Entry]:
    entries, expected = safetensors.entries(weights), shapes(dimensions)
    if unknown := entries.keys() - expected.keys() - UNUSED:
        _refuse("tensors", sorted(unknown)[:3], "only those of the architecture")
    for name, shape in expected.items():
        entry = entries.get(name)
        if entry is None:
            _refuse("tensors", f"no {name}", f"shape {shape}")
        if entry.dtype != "F32" or entry.shape != shape:
            _refuse(f"tensor {name}", f"{entry.dtype} {entry.shape}", f"F32 {shape}")
    return entries


def _joined(tensors: list[Tensor]) -> Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _refuse(what: str, found: object, expected: object) -> NoReturn:
    raise RemoteProtocolError(f"{what}: found {found}, expected {expected}"[:500])


def _misuse(found: str) -> NoReturn:
    raise LocalProtocolError(f"cannot embed {found}")
