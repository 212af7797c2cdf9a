"""Weights trained here and now, small, on text that every Python installation carries.

They say something, so what quantisation takes from them is a real value even without a network. A
row without a locator is trained from its seed and dimensions; one whose locator names such a row is
made of the same floats in another precision, so that nothing is trained twice.
"""

from __future__ import annotations

import json
import platform
import sys
from pathlib import Path

from bench.weights import TOKENIZER, WEIGHTS, Row, SourceError, corpus, deposit, seeded, training


def fetch(row: Row, folder: Path) -> None:
    """Train, a few minutes on one core, or take what is in the folder of the row's locator.

    That folder lies as this one does: `{model}/source`.
    """
    if row["locator"] in deposit.ABSENT:
        _train(row, folder)
    else:
        _again(row, folder, folder.parents[1] / row["locator"] / folder.name)


def _train(row: Row, folder: Path) -> None:
    config, seed = deposit.configuration(row), seeded.seed(row)
    made = training.train(corpus.training(), config, seed, _say)
    deposit.write(
        row,
        folder,
        config=config,
        contents={WEIGHTS: made.weights(), TOKENIZER: [made.tokenizer]},
        pins=deposit.pins(row, required=False),
        provenance={
            "corpus_sha256": corpus.digest(),
            "python": platform.python_version(),
            "seed": str(seed),
            **training.facts(),
        },
    )


def _again(row: Row, folder: Path, other: Path) -> None:
    try:
        base = deposit.read(other)
    except (OSError, ValueError) as error:
        hint = f"fetch {row['locator']} first"
        expected = "a model that was trained here"
        raise SourceError(row, "locator", found=error, expected=expected, hint=hint) from None
    published = json.dumps(dict(base.config)).encode()
    deposit.write(
        row,
        folder,
        config=deposit.configuration(row, published),
        contents={name: deposit.chunks(other / name) for name in (WEIGHTS, TOKENIZER)},
        pins={name: digest.sha256 for name, digest in base.files.items()},
        provenance={**base.provenance, "trained_as": base.model},
    )


def _say(what: str) -> None:
    print(f"train: {what}", file=sys.stderr, flush=True)
