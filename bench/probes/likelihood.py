"""How likely held-out text is to a generator: what a loss by quantisation is seen in.

The texts are paragraphs that no weights of ours were trained on (bench.weights.corpus), the same in
every boot and for every model. A server answers a text with the logarithm of its likelihood and the
number of tokens that are in it.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np

from bench.probes import Bed
from bench.records import Observation
from bench.weights import corpus

METRICS = ("negative_log_likelihood", "scored_tokens")
SERVERS = ("plain", "enclave")

# Characters: few enough for a context of 256 tokens, enough to go on from their half.
SHORTEST, LONGEST = 160, 400


def run(bed: Bed) -> Iterator[Observation]:
    """Nats for each text as a whole, and its tokens; `block` is the text."""
    for block, text in enumerate(texts(bed.workload.quality_texts)):
        bed.progress(f"held-out text {block + 1}/{bed.workload.quality_texts}")
        for name in bed.random.sample(SERVERS, len(SERVERS)):
            output = bed.main[name].ask((text,))
            if output.shape != (1, 2):
                raise ValueError(f"found scores of shape {output.shape}, expected (1, 2)")
            likelihood, tokens = np.frombuffer(output.values, "<f4").tolist()
            place = name, bed.boot, block, 0
            yield Observation("negative_log_likelihood", *place, -likelihood)
            yield Observation("scored_tokens", *place, tokens)
        for name in SERVERS:
            bed.main[name].settle()


def texts(count: int) -> Sequence[str]:
    """So many held-out paragraphs of middling length, the first in the corpus' order."""
    fitting = [text for text in corpus.held_out() if SHORTEST <= len(text) <= LONGEST]
    if len(fitting) < count:
        raise ValueError(f"found {len(fitting)} held-out texts, expected {count}")
    return fitting[:count]
