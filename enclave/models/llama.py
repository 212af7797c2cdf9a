"""Llama 3: a decoder that goes on from a prompt, token by token.

Sources: Dubey et al., The Llama 3 Herd of Models, 2024; Touvron et al., Llama, 2023 (RMSNorm,
SwiGLU); Su et al., RoFormer, 2021 (rotary positions); Ainslie et al., GQA, 2023. Names of tensors
and the halves that are rotated together are those of Hugging Face's LlamaForCausalLM.

Shapes: L tokens, H hidden, A query heads and K key-value heads of D, I intermediate, V vocabulary.
One prompt at a time, so nothing has a batch axis. What lies between the layers is float32.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import partial

import torch
from torch import Tensor
from torch.nn import functional

from enclave.models import Release, quantised, safetensors
from enclave.models.llama_config import Config, dimensions, precisions, refuse, shapes
from enclave.models.quantised import Linear, Table
from enclave.models.sampling import Sampler
from enclave.wire.errors import LocalProtocolError, RemoteProtocolError

__all__ = ["Config", "Model", "check", "dimensions", "load", "precisions", "shapes"]

SCORED = 128  # tokens at a time: their logits alone may be 64 MiB

Cache = Tensor  # (layers, 2, K, C, D) float32: keys and values of up to C tokens


@dataclass(frozen=True, slots=True)
class Norm:
    """Root mean square normalisation over the last axis."""

    weight: Tensor  # (H,)
    epsilon: float

    def __call__(self, x: Tensor) -> Tensor:
        mean = x.square().mean(-1, keepdim=True)  # (L, 1); four times as fast as torch's own
        return x.mul(torch.rsqrt(mean + self.epsilon)).mul_(self.weight)


@dataclass(frozen=True, slots=True)
class Layer:
    """Attention and feed-forward, each normalised before and added to what came in."""

    heads: int
    key_heads: int
    attention_norm: Norm
    query_key_value: Linear  # H -> (A + 2K) D
    attention_output: Linear  # A D -> H
    feed_norm: Norm
    gate_up: Linear  # H -> 2I
    down: Linear  # I -> H

    def __call__(self, x: Tensor, turns: Tensor, cache: Tensor, start: int) -> Tensor:
        """x (L, H) at positions `start` and on, cache (2, K, C, D), turns (2, L, D) -> (L, H)."""
        mixed = self.query_key_value(self.attention_norm(x))  # (L, (A + 2K) D)
        heads = mixed.view(len(x), -1, turns.shape[-1]).transpose(0, 1)  # (A + 2K, L, D)
        turned = rotate(heads[: -self.key_heads], turns)  # (A + K, L, D)
        stop = start + len(x)
        cache[0, :, start:stop] = turned[self.heads :]
        cache[1, :, start:stop] = heads[-self.key_heads :]
        context = attend(turned[: self.heads], cache[0, :, :stop], cache[1, :, :stop])  # (L, A D)
        x = x + self.attention_output(context)  # (L, H)
        gate, up = self.gate_up(self.feed_norm(x)).chunk(2, dim=-1)  # (L, I) each
        return x + self.down(functional.silu(gate.float()).mul_(up))  # (L, H)


@dataclass(frozen=True, slots=True)
class Model:
    """A loaded decoder. `packed` says whether it runs on kernels for its precision."""

    config: Config
    packed: bool
    table: Table  # V -> H
    layers: tuple[Layer, ...]
    norm: Norm
    head: Linear  # H -> V
    turns: Tensor  # (2, max_seq_length, D): cosines and sines

    @property
    def max_tokens(self) -> int:
        """Longest prompt and answer together."""
        return self.config.max_seq_length

    def generate(
        self, prompt: list[int], *, max_new_tokens: int, temperature: float, seed: int
    ) -> Iterator[int]:
        """Sampled ids, until a stop id, which does not come, or as many as were asked for."""
        if not prompt or max_new_tokens < 1:
            raise LocalProtocolError(f"{len(prompt)} tokens to go on from by {max_new_tokens}")
        if len(prompt) + max_new_tokens > self.max_tokens:
            raise RemoteProtocolError(
                f"prompt: found {len(prompt)} tokens and {max_new_tokens} new ones, expected at "
                f"most {self.max_tokens}\nhint: ask for fewer tokens, or cut the prompt"
            )
        return self._answer(prompt, max_new_tokens, Sampler(temperature, seed))

    def _answer(self, prompt: list[int], count: int, sampler: Sampler) -> Iterator[int]:
        cache, start, ids = self._cache(len(prompt) + count), 0, prompt
        for _ in range(count):
            with torch.inference_mode():
                x = self._hidden(ids, cache, start)[-1:]  # (1, H)
                token = sampler(self.head(x)[0].float().cpu())
            if token in self.config.stop_ids:
                return
            yield token
            start, ids = start + len(ids), [token]

    def logits(self, ids: list[int]) -> Tensor:
        """For each of L ids what may come after it: (L, V) float32."""
        with torch.inference_mode():
            return self.head(self._hidden(ids, self._cache(len(ids)), 0)).float()

    def score(self, ids: list[int]) -> tuple[float, int]:
        """Sum of ln p of every id but the first, each given all before it, and their number.

        Stretch by stretch over one cache, so that its memory hardly grows with the text.
        """
        if not 1 <= len(ids) <= self.max_tokens:
            raise LocalProtocolError(f"{len(ids)} tokens to score")
        cache, count, total = self._cache(len(ids) - 1), len(ids) - 1, 0.0
        for start in range(0, count, SCORED):
            stop = min(start + SCORED, count)
            following = torch.tensor(ids[start + 1 : stop + 1])  # (S,)
            with torch.inference_mode():
                logits = self.head(self._hidden(ids[start:stop], cache, start)).float()  # (S, V)
                total -= float(functional.cross_entropy(logits, following, reduction="sum"))
        return total, count

    def _cache(self, tokens: int) -> Cache:
        shape = (self.config.num_key_value_heads, tokens, self.config.head_dim)
        return torch.empty(len(self.layers), 2, *shape)  # its pages are touched as they are used

    def _hidden(self, ids: list[int], cache: Cache, start: int) -> Tensor:
        """Ids (L,) at positions `start` and on to (L, H); the cache then holds them too."""
        stop = start + len(ids)
        if not 0 <= min(ids) <= max(ids) < self.config.vocab_size or stop > self.max_tokens:
            raise LocalProtocolError(f"ids {min(ids)} to {max(ids)} at positions to {stop}")
        x, turns = self.table(torch.tensor(ids)), self.turns[:, start:stop]  # (L, H), (2, L, D)
        for layer, part in zip(self.layers, cache, strict=True):
            x = layer(x, turns, part, start)  # (L, H)
        return self.norm(x)


def rotate(x: Tensor, turns: Tensor) -> Tensor:
    """Turn each pair (i, i + D / 2) of x (..., L, D) by the angle of its position."""
    first, second = x.chunk(2, dim=-1)  # (..., L, D / 2)
    crossed = torch.cat((-second, first), dim=-1)  # (..., L, D)
    return torch.addcmul(x * turns[0], crossed, turns[1])


def attend(query: Tensor, key: Tensor, value: Tensor) -> Tensor:
    """The last L of T tokens: query (A, L, D), key and value (K, T, D) -> (L, A D)."""
    heads, length, depth = query.shape
    key_heads = len(key)
    if length == 1:  # heads that share a key are so many queries to it
        grouped = query.view(1, key_heads, heads // key_heads, depth)  # (1, K, A / K, D)
        found = functional.scaled_dot_product_attention(grouped, key[None], value[None])
        return found.reshape(1, heads * depth)
    key, value = (part.repeat_interleave(heads // key_heads, dim=0) for part in (key, value))
    before = key.shape[1] - length  # tokens that each of these may look at, all of them
    seen = torch.ones(length, key.shape[1], dtype=torch.bool).tril(before) if before else None
    context = functional.scaled_dot_product_attention(
        query[None], key[None], value[None], seen, is_causal=seen is None
    )  # (1, A, L, D)
    return context[0].transpose(0, 1).reshape(length, heads * depth)


def turns(config: Config) -> Tensor:
    """Cosine and sine of every position and pair: (2, max_seq_length, D) float32.

    Long wavelengths are stretched by `rope_factor`, short ones kept, those between mixed.
    """
    exponents = torch.arange(0, config.head_dim, 2).float() / config.head_dim  # (D / 2,)
    frequencies = 1.0 / config.rope_theta**exponents
    if config.rope_factor != 1:
        low, high = config.rope_low_freq_factor, config.rope_high_freq_factor
        fits = config.rope_original_positions * frequencies / (2 * torch.pi)  # turns in a context
        share = ((fits - low) / (high - low)).clamp(0, 1)
        frequencies = frequencies * (share + (1 - share) / config.rope_factor)
    angles = torch.outer(torch.arange(config.max_seq_length).float(), frequencies)
    return torch.stack((angles.cos(), angles.sin())).repeat(1, 1, 2)


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
    """A decoder on views of `weights`; its precision's kernels where they work, unless told.

    What is fused or packed is copied piece by piece, and `release(start, length)` hears which
    bytes of `weights` are no longer looked at.
    """
    config, entries = Config.of(dimensions), _entries(weights, dimensions)
    packs = quantised.kernels_work(config.precision) if packed is None else packed
    parts = _Parts(config, weights, entries, packs, release)
    layers = tuple(parts.layer(f"model.layers.{n}") for n in range(config.num_hidden_layers))
    table = Table(*parts.stored("model.embed_tokens"))
    head = parts.linear("model.embed_tokens" if config.tie_word_embeddings else "lm_head")
    return Model(config, packs, table, layers, parts.norm("model.norm"), head, turns(config))


@dataclass(frozen=True, slots=True)
class _Parts:
    """A file's tensors, put together by name."""

    config: Config
    weights: bytearray | memoryview
    entries: Mapping[str, safetensors.Entry]
    packs: bool
    release: Release | None

    def stored(self, name: str) -> tuple[Tensor, Tensor | None]:
        scale = self.entries.get(f"{name}.weight.scale")
        weight = safetensors.view(self.weights, self.entries[f"{name}.weight"])
        return weight, None if scale is None else safetensors.view(self.weights, scale)

    def norm(self, name: str) -> Norm:
        weight = safetensors.view(self.weights, self.entries[f"{name}.weight"])
        return Norm(weight, self.config.rms_norm_eps)

    def linear(self, *names: str) -> Linear:
        """Several layers of the same input are fused into one."""
        used = partial(self._used, names)
        return quantised.linear([self.stored(name) for name in names], used, packs=self.packs)

    def _used(self, names: tuple[str, ...], part: int, start: int, stop: int) -> None:
        for name in (f"{names[part]}.weight", f"{names[part]}.weight.scale"):
            if self.release and (entry := self.entries.get(name)):
                row = (entry.stop - entry.start) // entry.shape[0]
                self.release(entry.start + start * row, (stop - start) * row)

    def layer(self, name: str) -> Layer:
        attention, feed = f"{name}.self_attn", f"{name}.mlp"
        return Layer(
            self.config.num_attention_heads,
            self.config.num_key_value_heads,
            self.norm(f"{name}.input_layernorm"),
            self.linear(*(f"{attention}.{part}_proj" for part in "qkv")),
            self.linear(f"{attention}.o_proj"),
            self.norm(f"{name}.post_attention_layernorm"),
            self.linear(f"{feed}.gate_proj", f"{feed}.up_proj"),
            self.linear(f"{feed}.down_proj"),
        )


def _entries(
    weights: bytearray | memoryview, dimensions: Mapping[str, object]
) -> dict[str, safetensors.Entry]:
    entries, kinds = safetensors.entries(weights), precisions(dimensions)
    expected: dict[str, quantised.Stored] = {}
    for name, shape in shapes(dimensions).items():
        expected |= quantised.stored(name, shape, kinds.get(name, "fp32"))
    if unknown := entries.keys() - expected.keys():
        refuse("tensors", sorted(unknown)[:3], "only those of the architecture")
    for name, (dtype, shape) in expected.items():
        entry = entries.get(name)
        if entry is None:
            refuse("tensors", f"no {name}", f"{dtype} {shape}")
        if (entry.dtype, entry.shape) != (dtype, shape):
            refuse(f"tensor {name}", f"{entry.dtype} {entry.shape}", f"{dtype} {shape}")
    return entries
