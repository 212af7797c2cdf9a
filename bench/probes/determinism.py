"""Whether the same input gives the same bytes: digests of answers to inputs that never change.

Every boot, repetition and side is asked the same texts, once each, and the longest of them again
and again within one session. A digest is the first 48 bits of the SHA-256 of an encoded output,
which a float holds exactly. What equals what is counted later; a boot more is a restart more.
"""

from __future__ import annotations

from collections.abc import Iterator
from hashlib import sha256

from bench.probes import Bed
from bench.probes.inputs import SENTENCES
from bench.records import Observation
from enclave.wire.messages import Output

METRICS = ("output_digest",)
SERVERS = ("plain", "enclave")

# Of one sentence, of some, and last the one that is repeated, of about 128 tokens.
TEXTS = (*SENTENCES, " ".join(SENTENCES[:4]), " ".join(SENTENCES[:8]))
DIGEST_BYTES = 6
SETTLED = 25  # answers whose receipts wait to be checked


def run(bed: Bed) -> Iterator[Observation]:
    """Digests, as integers; `block` is the text, `iteration` counts the times it was asked."""
    bed.progress("answers to texts that never change")
    for block, text in enumerate(TEXTS):
        for name in bed.random.sample(SERVERS, len(SERVERS)):
            yield _asked(bed, name, block, 0, text)
    for iteration in range(1, bed.workload.repeats):
        for name in bed.random.sample(SERVERS, len(SERVERS)):
            yield _asked(bed, name, len(TEXTS) - 1, iteration, TEXTS[-1])
        if iteration % SETTLED == 0:
            for name in SERVERS:
                bed.main[name].settle()


def digest(output: Output) -> int:
    """The first 48 bits of what a receipt hashes."""
    return int.from_bytes(sha256(output.encode()).digest()[:DIGEST_BYTES])


def _asked(bed: Bed, name: str, block: int, iteration: int, text: str) -> Observation:
    value = digest(bed.main[name].ask((text,)))
    return Observation("output_digest", name, bed.boot, block, iteration, value)
