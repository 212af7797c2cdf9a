"""Generation: tokens per second of the prompt and after it, ours / llama.cpp."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np

from bench.peers import decoders
from bench.peers.rows import Stand
from bench.records import Observation

METRICS = ("prefill", "decode")
BLOCKS = 12  # mirrored blocks in each boot, at most
ENGINES = {"ours": "ours-decoder", "llama-cpp": "llama-cpp"}

# Activations are rounded in other places, so the engines agree in direction and not to the bit.
SAME = 0.99


def engine(side: str) -> str:
    """Ours has one for each kind of model."""
    return ENGINES[side.rpartition("-")[0]]


def run(stand: Stand) -> Iterator[Observation]:
    """Tokens per second; axes `prompt` and `new`, in tokens."""
    _agree(stand)
    blocks = min(stand.blocks, BLOCKS)
    for block in range(-stand.warmup, blocks):
        stand.progress(f"block {max(block + 1, 0)}/{blocks}")
        for at, sides in stand.points().items():
            sizes = {axis: int(size) for axis, size in at}
            prompt = _prompt(stand, sizes["prompt"])
            for position, side in enumerate(stand.mirrored(sides)):
                answer = stand.workers[side].ask(prompt=prompt, new=sizes["new"])
                stand.pause()
                iteration = 2 * (block + stand.warmup) + int(position >= len(sides))
                place = (side, stand.boot, block, iteration)
                for metric, count in (("prefill", len(prompt)), ("decode", sizes["new"] - 1)):
                    rate = count / answer[f"{metric}_ns"] * 1e9
                    yield Observation(metric, *place, rate, block < 0, at)


def _agree(stand: Stand) -> None:
    """ValueError where two engines do not compute the same model."""
    prompt = _prompt(stand, 16)
    found = {
        side: decoders.logits(worker.ask(prompt=prompt)) for side, worker in stand.workers.items()
    }
    first, *others = found
    for other in others:
        one, two = found[first], found[other]
        cosine = float(one @ two / (np.linalg.norm(one) * np.linalg.norm(two)))
        if cosine < SAME:
            raise ValueError(f"{other}: found cosine {cosine:.4f} to {first}, expected {SAME}")


def _prompt(stand: Stand, tokens: int) -> list[int]:
    """Any ids will do: what is computed does not depend on what they mean."""
    size = min(int(worker.facts["vocabulary"]) for worker in stand.workers.values())
    return [stand.random.randrange(size) for _ in range(tokens)]
