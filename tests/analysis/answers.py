"""Answers of models that are made up, for tests of what is counted and estimated from them."""

from pathlib import Path

import pandas as pd

from bench import plan
from bench.analysis.quality import Answers

KNOWN = plan.models(Path(__file__).parents[2] / "config" / "models.tsv")
COLUMNS = ("repetition", "boot", "metric", "side", "block", "iteration", "value")
SIDES = ("plain", "enclave")


def answers(rows, model="minilm", *, seeded=False):
    return Answers("local", "laptop", model, seeded, pd.DataFrame(rows, columns=COLUMNS))


def digests(boots=3, texts=4, repeats=5):
    """Every text once a boot and side, and the last one again and again."""
    asked = [(block, 0) for block in range(texts)]
    asked += [(texts - 1, iteration) for iteration in range(1, repeats)]
    return [
        (repetition, boot, "output_digest", side, block, iteration, 1000.0 + block)
        for repetition in (1, 2)
        for boot in range(boots)
        for side in SIDES
        for block, iteration in asked
    ]


def other(rows, **where):
    """The same rows, one of which was answered otherwise."""
    at = {name: COLUMNS.index(name) for name in where}
    (index,) = [n for n, row in enumerate(rows) if all(row[at[k]] == v for k, v in where.items())]
    return [*rows[:index], (*rows[index][:-1], 7.0), *rows[index + 1 :]]


def judged(right, model="minilm", **changes):
    """100 letters, so many of them right in every boot, and the class of each."""
    rows = []
    for boot in range(2):
        for side in SIDES:
            for block in range(100):
                correct = 100.0 * (block < right)
                rows += [(1, boot, "classification_accuracy", side, block, 0, correct)]
                rows += [(1, boot, "predicted_class", side, block, 0, float(block < right))]
    return answers(rows, model, **changes)


def written(nats, model, score=0.5, tokens=40.0, **changes):
    rows = []
    for side in SIDES:
        for block in range(20):
            own = nats * tokens + block
            rows += [(1, 0, "negative_log_likelihood", side, block, 0, own)]
            rows += [(1, 0, "scored_tokens", side, block, 0, tokens)]
            rows += [(1, 0, "bert_score", side, block, 0, score + block / 100)]
    return answers(rows, model, **changes)


def told(made, quantity, compared):
    (row,) = [r for r in made if (r["quantity"], r["compared"]) == (quantity, compared)]
    return row
