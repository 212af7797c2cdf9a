"""How a generator goes on from held-out text: its tokens, and how near they come to the real end.

A prompt is the first half of a text that no weights were trained on, the reference its second half.
The likeliest token is taken each time, so that equal weights go on equally wherever they run.
"""

from __future__ import annotations

from collections.abc import Iterator

from bench.probes import Bed
from bench.probes.bert_score import judge
from bench.probes.likelihood import texts
from bench.records import Observation

METRICS = ("continuation", "bert_score")
SERVERS = ("plain", "enclave")


def run(bed: Bed) -> Iterator[Observation]:
    """Ids of tokens, `iteration` their position, and F of BERTScore; `block` is the text."""
    judging = judge()
    for block, text in enumerate(texts(bed.workload.quality_texts)):
        bed.progress(f"continuation {block + 1}/{bed.workload.quality_texts}")
        prompt, reference = halves(text)
        for name in bed.random.sample(SERVERS, len(SERVERS)):
            parts = list(bed.main[name].generate(prompt, bed.workload.continuation_tokens))
            for position, part in enumerate(parts):
                yield Observation("continuation", name, bed.boot, block, position, part.token)
            written = "".join(part.text for part in parts)
            score = judging.score(written, reference)
            yield Observation("bert_score", name, bed.boot, block, 0, score)
        for name in SERVERS:
            bed.main[name].settle()


def halves(text: str) -> tuple[str, str]:
    """The first half of a text's words, and the rest."""
    words = text.split()
    middle = len(words) // 2
    return " ".join(words[:middle]), " ".join(words[middle:])
