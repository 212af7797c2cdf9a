"""Losses: what coarser weights answer worse than finer ones of the same origin, text by text.

Two rows of config/models.tsv that differ in nothing but their precision are one origin; each is
compared with the finest of them that was measured. What is compared are the enclaves' answers. Both
models were asked the same texts, so differences are formed for each text and texts are the units.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from bench.analysis import shares
from bench.analysis.facts import OK, Row
from bench.analysis.quality import REFUSED, SEEDED, Answers, estimated
from bench.plan import PRECISIONS, Model
from bench.tables import ABSENT

METRIC = "quantization_loss"
SIDE = "enclave"

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Pair:
    """Answers of coarse weights beside those of fine ones; `names` are the two precisions."""

    coarse: Answers
    fine: Answers
    names: tuple[str, str]

    def texts(self, metric: str) -> tuple[Floats, Floats]:
        """One value a text, (n,) each, of the texts that both were asked."""
        both = [answers.by_text(metric, SIDE) for answers in (self.coarse, self.fine)]
        table = pd.concat(both, axis=1, join="inner").dropna().to_numpy()
        return table[:, 0], table[:, 1]

    def between(self, sign: str) -> str:
        """`q4 / fp32`."""
        return f" {sign} ".join(self.names)


def rows(measured: Sequence[Answers], known: Sequence[Model]) -> list[Row]:
    """Every loss that any two of these models show."""
    kinds = (_likelihood, _bert_score, _accuracy, _cosine)
    return [row for pair in pairs(measured, known) for kind in kinds for row in kind(pair)]


def pairs(measured: Sequence[Answers], known: Sequence[Model]) -> Iterator[Pair]:
    """Models of one origin on one machine, each beside the finest of them."""
    by_name = {model.model: model for model in known}
    origins: dict[tuple[str, ...], list[Answers]] = {}
    for answers in measured:
        if model := by_name.get(answers.model):
            key = answers.platform, answers.instance, *_origin(model)
            origins.setdefault(key, []).append(answers)
    for alike in origins.values():
        fine, *others = sorted(
            alike, key=lambda answers: PRECISIONS.index(by_name[answers.model].precision)
        )
        for coarse in others:
            names = by_name[coarse.model].precision, by_name[fine.model].precision
            yield Pair(coarse, fine, names)


def _origin(model: Model) -> tuple[str, ...]:
    """What all precisions of the same weights have in common; one trained here names another."""
    if model.source == "trained":
        return model.source, model.model if model.locator == ABSENT else model.locator
    apart = ("model", "precision", "license")
    return tuple(value for name, value in model.identity().items() if name not in apart)


def _likelihood(pair: Pair) -> Iterator[Row]:
    """Nats more for a token, and how many times as perplexed that is."""
    ours, theirs = pair.texts("negative_log_likelihood")
    if not len(ours):
        return
    tokens, expected = pair.texts("scored_tokens")
    if not np.array_equal(tokens, expected):
        row = pair.coarse.row(METRIC, "likelihood", pair.between("−"), "nat/token")
        yield row | {"status": REFUSED, "detail": "the two were asked other texts"}
        return
    found = shares.ratio_of_totals(ours - theirs, tokens)
    yield estimated(pair.coarse, METRIC, "likelihood", pair.between("−"), found)
    yield estimated(pair.coarse, METRIC, "perplexity", pair.between("/"), found, change=np.exp)


def _bert_score(pair: Pair) -> Iterator[Row]:
    ours, theirs = pair.texts("bert_score")
    if len(ours):
        found = shares.ratio_of_totals(ours - theirs, np.ones(len(ours)))
        yield estimated(pair.coarse, METRIC, "BERTScore", pair.between("−"), found)


def _accuracy(pair: Pair) -> Iterator[Row]:
    ours, theirs = pair.texts("classification_accuracy")
    if len(ours):
        found = shares.difference_of_shares(ours / 100, theirs / 100)
        between = pair.between("−")
        yield estimated(pair.coarse, METRIC, "accuracy", between, found, per=100, unit="points")


def _cosine(pair: Pair) -> Iterator[Row]:
    """The lowest and the middle cosine between the two embeddings of a text."""
    ours, theirs = (_vectors(answers) for answers in (pair.coarse, pair.fine))
    if not (ours.size and theirs.size):
        return
    told: Row = {"n": len(ours)}
    told |= {"status": REFUSED, "detail": SEEDED} if pair.coarse.seeded else {"status": OK}
    lengths = np.linalg.norm(ours, axis=1) * np.linalg.norm(theirs, axis=1)
    cosines = (ours * theirs).sum(axis=1) / lengths
    for name, value in (("lowest cosine", cosines.min()), ("median cosine", np.median(cosines))):
        row = pair.coarse.row(METRIC, name, pair.between("and"), "1") | told
        yield row if pair.coarse.seeded else row | {"value": float(value)}


def _vectors(answers: Answers) -> Floats:
    """Embeddings that were recorded whole, (texts, H)."""
    found = answers.of("embedding", SIDE)
    table = found.pivot_table(index="block", columns="iteration", values="value", aggfunc="first")
    return table.to_numpy()
