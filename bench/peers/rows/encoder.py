"""Embedding one batch of texts: ours, the peers and the machine's limits, request by request.

In a block every engine has the same new text twice, on the way there and on the way back. Each
engine times itself. Between two engines there is a pause in which threads that spin for work give
up: else an engine would be slowed down by its predecessor's.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterator

import numpy as np

from bench.peers import Message, encoders
from bench.peers.rows import Stand
from bench.records import Axes, Observation

METRICS = ("forward", "forward_after_others", "text", "cosine", "operations_rate", "read_rate")
TIMES = {"forward_ns": "forward", "first_ns": "forward_after_others", "text_ns": "text"}
RATES = {"operations_per_s": "operations_rate", "bytes_per_s": "read_rate"}
REFERENCE = "ours-fp32"
ROOFLINE = "roofline"

# What float32 engines may differ by in cosine before they are no longer the same model.
SAME = 0.9999


def engine(side: str) -> str:
    """`onnxruntime` of `onnxruntime-int8`."""
    return side.rpartition("-")[0]


def run(stand: Stand) -> Iterator[Observation]:
    """Times in ms, cosines to our float32 embedding of the same text, rates in 10^9 per second."""
    points = stand.points()
    counts: defaultdict[tuple[str, Axes], int] = defaultdict(int)
    for block in range(-stand.warmup, stand.blocks):
        stand.progress(f"block {max(block + 1, 0)}/{stand.blocks}")
        for at in stand.random.sample(list(points), len(points)):
            sizes = dict(at)
            texts = [stand.text(int(sizes["tokens"])) for _ in range(int(sizes.get("batch", 1)))]
            answers = []
            for name in stand.mirrored([name for name in points[at] if name in stand.workers]):
                answers.append((name, stand.workers[name].ask(texts=texts)))
                stand.pause()
            reference = dict(answers).get(REFERENCE)
            for name, answer in answers:
                place = (name, stand.boot, block, counts[name, at])
                counts[name, at] += 1
                values = {**_measured(answer), **_cosines(name, answer, reference)}
                for metric, value in values.items():
                    yield Observation(metric, *place, value, block < 0, at)


def _measured(answer: Message) -> dict[str, float]:
    times = {TIMES[name]: answer[name] / 1e6 for name in TIMES if name in answer}
    return times | {RATES[name]: answer[name] / 1e9 for name in RATES if name in answer}


def _cosines(name: str, answer: Message, reference: Message | None) -> dict[str, float]:
    """The least of a batch; ValueError where float32 engines do not agree."""
    if reference is None or name == REFERENCE or name.startswith(ROOFLINE):
        return {}
    ours, theirs = encoders.embeddings(reference), encoders.embeddings(answer)  # (B, H) each
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosine = float(((ours * theirs).sum(axis=1) / lengths).min())
    if name.endswith("fp32") and cosine < SAME:
        raise ValueError(f"{name}: found cosine {cosine:.5f} to {REFERENCE}, expected {SAME}")
    return {"cosine": cosine}
