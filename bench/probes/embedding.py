"""What an encoder's answers are worth: alike on both sides, and good for telling classes apart.

Both sides get the same letters (bench.probes.letters), one by one. Their answers are compared
number by number, and judged by how well classes can be told apart in them. Where SentEval (Conneau
and Kiela, 2018) and MTEB (Muennighoff et al., 2023) train a linear probe for that, a letter here
belongs to the nearest centroid (Snell et al., 2017), the mean direction of a class's training
letters, which has no settings.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

import numpy as np
from numpy.typing import NDArray

from bench.probes import Bed
from bench.probes.letters import CLASSES, TRAINING
from bench.records import Observation
from enclave.wire.messages import Output

METRICS = (
    "embedding_cosine",
    "max_abs_difference",
    "embedding",
    "predicted_class",
    "classification_accuracy",
)
SERVERS = ("plain", "enclave")
KEPT = 4  # letters of each class whose embeddings are recorded whole, to be compared across models

Floats = NDArray[np.float64]


def run(bed: Bed) -> Iterator[Observation]:
    """`block` is the letter: of all letters, or of those that test."""
    rows: Mapping[str, list[Floats]] = {name: [] for name in SERVERS}
    for label, letters in CLASSES.items():
        bed.progress(f"letters: {label}")
        for letter in letters:
            for name in bed.random.sample(SERVERS, len(SERVERS)):
                rows[name].append(values(bed.main[name].ask((letter,))))
        for name in SERVERS:
            bed.main[name].settle()
    sides = {name: np.stack(rows[name]) for name in SERVERS}  # (letters, H)
    yield from _differences(bed.boot, sides["enclave"], sides["plain"])
    for name, found in sides.items():
        yield from _judged(bed.boot, name, found.reshape(len(CLASSES), -1, found.shape[1]))
    if bed.boot == 0:  # other boots have digests that say the same
        yield from _kept(bed.boot, sides["enclave"])


def values(output: Output) -> Floats:
    """The one row of an output, (H,)."""
    row = np.frombuffer(output.values, "<f4").astype(np.float64)
    if output.shape != (1, len(row)):
        raise ValueError(f"found an answer of shape {output.shape}, expected one row")
    return row


def nearest(training: Floats, testing: Floats) -> NDArray[np.int64]:
    """Class of each testing row by the cosine with each class's centroid.

    training (classes, n, H), testing (m, H) -> (m,). No rows may be of length 0.
    """
    centroids = _directions(_directions(training).mean(axis=1))  # (classes, H)
    classes: NDArray[np.int64] = np.argmax(_directions(testing) @ centroids.T, axis=1)
    return classes


def _directions(rows: Floats) -> Floats:
    directions: Floats = rows / np.linalg.norm(rows, axis=-1, keepdims=True)
    return directions


def _differences(boot: int, ours: Floats, reference: Floats) -> Iterator[Observation]:
    """How far the enclave's answers lie from the plain server's; (letters, H) each."""
    cosines = (_directions(ours) * _directions(reference)).sum(axis=1)
    apart = np.abs(ours - reference).max(axis=1)
    for block in range(len(ours)):
        place = "enclave", boot, block, 0
        yield Observation("embedding_cosine", *place, float(cosines[block]))
        yield Observation("max_abs_difference", *place, float(apart[block]))


def _judged(boot: int, name: str, found: Floats) -> Iterator[Observation]:
    """Answers (classes, letters of each, H) to classes, by number, and whether each is right."""
    testing = found[:, TRAINING:].reshape(-1, found.shape[2])
    predicted = nearest(found[:, :TRAINING], testing)
    right = np.repeat(np.arange(len(found)), found.shape[1] - TRAINING)
    for block in range(len(testing)):
        place = name, boot, block, 0
        yield Observation("predicted_class", *place, int(predicted[block]))
        correct = 100.0 * bool(predicted[block] == right[block])
        yield Observation("classification_accuracy", *place, correct)


def _kept(boot: int, found: Floats) -> Iterator[Observation]:
    """Some embeddings, number by number: `block` is the letter, `iteration` the component."""
    each = len(found) // len(CLASSES)
    for block in (start + n for start in range(0, len(found), each) for n in range(KEPT)):
        for component, value in enumerate(found[block]):
            yield Observation("embedding", "enclave", boot, block, component, float(value))
