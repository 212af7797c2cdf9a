"""How the models of `trained` come about: a tokenizer, then a small Llama, from paragraphs.

The forward pass is that of `enclave.models.llama`, for batches and with gradients; rotary positions
are the same code. Equal texts, seed, torch build and kind of processor give equal bytes: one thread
computes, however many CPUs there are, and with operations that torch calls deterministic. Another
build or processor rounds otherwise, which training carries on to other weights, about as good. The
tokenizer is the same everywhere.
"""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass

import tokenizers
import torch
from tokenizers import decoders, models, pre_tokenizers, processors, trainers
from torch import Tensor
from torch.nn import functional

from bench.weights import quantise
from enclave.models import Dimensions, llama

BEGIN, PAD = "<|begin_of_text|>", "[PAD]"
STEPS = 400
BATCH, WINDOW = 8, 256  # windows of so many tokens in each step
RATE, FLOOR, WARMUP = 4e-3, 0.05, 20  # of learning: the highest, the last's share of it, steps up
BETAS, DECAY, CLIP = (0.9, 0.95), 0.1, 1.0
EMBED = 1.0  # standard deviation of the first embeddings
SAID_EVERY = 20  # steps

Say = Callable[[str], None]
Tensors = Mapping[str, Tensor]


@dataclass(frozen=True, slots=True)
class Trained:
    """A tokenizer.json and float32 tensors by name, in file order."""

    tokenizer: bytes
    tensors: Tensors

    def weights(self) -> Iterator[bytes]:
        """A safetensors file."""
        layout = {name: ("F32", tuple(t.shape), t.nbytes) for name, t in self.tensors.items()}
        yield quantise.head(layout)
        for tensor in self.tensors.values():
            yield tensor.numpy().tobytes()


def facts() -> dict[str, str]:
    """What decides the weights beside texts, seed and dimensions."""
    recipe = f"{STEPS} steps of {BATCH} x {WINDOW} tokens, AdamW at {RATE:g}"
    return {"torch": str(torch.__version__), "threads": "1", "training": recipe}


def train(texts: Sequence[str], dimensions: Dimensions, seed: int, say: Say) -> Trained:
    """Train on these texts; `say` hears step, loss in nats a token, and the time left."""
    config = llama.Config.of(dimensions)
    made = vocabulary(texts, config.vocab_size)
    reader = tokenizers.Tokenizer.from_str(made.decode())
    stream = torch.tensor([number for text in texts for number in reader.encode(text).ids])
    chance = torch.Generator().manual_seed(seed)
    with deterministic():
        tensors = begin(dimensions, chance)
        steps = learn(tensors, stream, config, chance)
        began = time.monotonic()
        for step, loss in enumerate(steps, start=1):
            if step % SAID_EVERY == 0 or step == STEPS:
                left = (time.monotonic() - began) / step * (STEPS - step)
                say(f"step {step}/{STEPS}, loss {loss:.3f}, {left:.0f} s left")
    return Trained(made, {name: tensor.detach() for name, tensor in tensors.items()})


def vocabulary(texts: Sequence[str], size: int) -> bytes:
    """A tokenizer.json of byte pairs: takes any text and puts a beginning before it."""
    made = tokenizers.Tokenizer(models.BPE())
    made.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=True)
    made.decoder = decoders.ByteLevel()
    trainer = trainers.BpeTrainer(
        vocab_size=size,
        special_tokens=[BEGIN, PAD],
        initial_alphabet=pre_tokenizers.ByteLevel.alphabet(),
        show_progress=False,
    )
    made.train_from_iterator(texts, trainer)
    made.post_processor = processors.TemplateProcessing(
        single=f"{BEGIN} $A", special_tokens=[(BEGIN, made.token_to_id(BEGIN))]
    )
    return made.to_str(pretty=False).encode()


def begin(dimensions: Dimensions, chance: torch.Generator) -> dict[str, Tensor]:
    """Layers add nothing and every token is as likely: what is learned first are pairs of tokens.

    So a short training loses no step to noise that random layers and a random head would make.
    """
    tensors = {}
    for name, shape in llama.shapes(dimensions).items():
        if len(shape) == 1:
            tensors[name] = torch.ones(shape)
        elif name.endswith(("o_proj.weight", "down_proj.weight", "lm_head.weight")):
            tensors[name] = torch.zeros(shape)
        else:
            spread = EMBED if "embed" in name else 1 / math.sqrt(shape[1])
            tensors[name] = torch.randn(shape, generator=chance) * spread
    return {name: tensor.requires_grad_() for name, tensor in tensors.items()}


def learn(
    tensors: Tensors, stream: Tensor, config: llama.Config, chance: torch.Generator
) -> Iterator[float]:
    """The loss of each step, after which `tensors` have learned from it; stream (T,) int64."""
    matrices = [tensor for tensor in tensors.values() if tensor.ndim == 2]
    norms = [tensor for tensor in tensors.values() if tensor.ndim == 1]
    groups = [{"params": matrices, "weight_decay": DECAY}, {"params": norms, "weight_decay": 0.0}]
    optimizer = torch.optim.AdamW(groups, betas=BETAS)
    length = min(WINDOW, config.max_seq_length)
    turns = llama.turns(config)[:, :length]
    for step in range(STEPS):
        for group in optimizer.param_groups:
            group["lr"] = rate(step)
        starts = torch.randint(len(stream) - length, (BATCH,), generator=chance).tolist()
        windows = torch.stack([stream[at : at + length + 1] for at in starts])  # (B, L + 1)
        logits = forward(tensors, windows[:, :-1], config, turns)  # (B, L, V)
        loss = functional.cross_entropy(logits.flatten(0, 1), windows[:, 1:].flatten())
        optimizer.zero_grad()
        loss.backward()  # type: ignore[no-untyped-call]
        torch.nn.utils.clip_grad_norm_([*matrices, *norms], CLIP)
        optimizer.step()
        yield loss.item()


def rate(step: int) -> float:
    """Of learning: up along a line, then down along a cosine."""
    if step < WARMUP:
        return RATE * (step + 1) / WARMUP
    way = (step - WARMUP) / max(1, STEPS - WARMUP)
    return RATE * (FLOOR + (1 - FLOOR) * (1 + math.cos(math.pi * way)) / 2)


def forward(tensors: Tensors, ids: Tensor, config: llama.Config, turns: Tensor) -> Tensor:
    """ids (B, L) and turns (2, L, D) to logits (B, L, V)."""

    def norm(x: Tensor, name: str) -> Tensor:
        weight = tensors[f"{name}.weight"]
        return functional.rms_norm(x, weight.shape, weight, config.rms_norm_eps)

    def linear(x: Tensor, name: str) -> Tensor:
        return functional.linear(x, tensors[f"{name}.weight"])

    def heads(x: Tensor, name: str) -> Tensor:
        return linear(x, name).view(*x.shape[:2], -1, config.head_dim).transpose(1, 2)

    x = functional.embedding(ids, tensors["model.embed_tokens.weight"])  # (B, L, H)
    for number in range(config.num_hidden_layers):
        layer = f"model.layers.{number}"
        normed = norm(x, f"{layer}.input_layernorm")
        query, key, value = (heads(normed, f"{layer}.self_attn.{part}_proj") for part in "qkv")
        query, key = llama.rotate(query, turns), llama.rotate(key, turns)  # (B, A or K, L, D)
        context = functional.scaled_dot_product_attention(
            query, key, value, is_causal=True, enable_gqa=True
        )  # (B, A, L, D)
        x = x + linear(context.transpose(1, 2).flatten(2), f"{layer}.self_attn.o_proj")
        normed = norm(x, f"{layer}.post_attention_layernorm")
        gate, up = (linear(normed, f"{layer}.mlp.{part}_proj") for part in ("gate", "up"))
        x = x + linear(functional.silu(gate) * up, f"{layer}.mlp.down_proj")
    head = "model.embed_tokens" if config.tie_word_embeddings else "lm_head"
    return linear(norm(x, "model.norm"), head)


@contextmanager
def deterministic() -> Iterator[None]:
    """One thread, and no operation that adds up in an order of its own."""
    threads, before = torch.get_num_threads(), torch.are_deterministic_algorithms_enabled()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    try:
        yield
    finally:
        torch.use_deterministic_algorithms(before)
        torch.set_num_threads(threads)
