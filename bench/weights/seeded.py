"""Weights of the exact shapes but without a meaning, drawn from a seed.

They cost what trained weights cost, so they serve where a model may not be had; what they say is
noise, so wherever they are printed they are labelled `seeded` and give no accuracy.
"""

from __future__ import annotations

import math
import string
from collections.abc import Iterator, Mapping
from pathlib import Path

import numpy as np
import tokenizers
from tokenizers import decoders, models, normalizers, pre_tokenizers, processors

from bench.weights import TOKENIZER, WEIGHTS, Row, SourceError, deposit, package, quantise

SPREAD = 0.02  # BERT's initializer_range, here the standard deviation of a uniform distribution
SPECIAL = ("[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]")
MAX_SEED = (1 << 64) - 1
PIECE = 1 << 20  # values drawn at a time; even, since a word of the generator makes two


def fetch(row: Row, folder: Path) -> None:
    """Draw every tensor from the row's seed; the same bytes on every machine.

    The tokenizer is that of the package in the row's locator, so that a text has as many tokens
    as with trained weights; without a locator it is one of single characters.
    """
    number, locator = seed(row), row["locator"]
    config = deposit.configuration(row)
    own = locator in deposit.ABSENT
    vocabulary = tokenizer() if own else package.tokenizer(row)
    shapes = deposit.architecture(row).shapes(config)
    deposit.write(
        row,
        folder,
        config=config,
        contents={WEIGHTS: weights(shapes, number), TOKENIZER: [vocabulary]},
        pins=deposit.pins(row, required=False),
        provenance={
            "generator": "numpy Philox, uniform",
            "seed": str(number),
            "tokenizer": "single characters" if own else locator,
        },
    )


def weights(shapes: Mapping[str, tuple[int, ...]], seed: int) -> Iterator[bytes]:
    """A safetensors file of float32 tensors, in the order of `shapes`."""
    counts = {name: math.prod(shape) for name, shape in shapes.items()}
    yield quantise.head({name: ("F32", shapes[name], 4 * counts[name]) for name in shapes})
    bits = np.random.Philox(key=seed)
    for name, count in counts.items():
        for start in range(0, count, PIECE):
            yield _values(name, min(PIECE, count - start), bits).tobytes()


def _values(name: str, count: int, bits: np.random.Philox) -> np.ndarray:
    """As BERT begins: norms do nothing, biases are 0, the rest is small and centred.

    Drawn from raw words, since numpy promises the stream of a bit generator but not that of its
    distributions (NEP 19); every step is exact or one IEEE 754 rounding.
    """
    if name.endswith(".bias"):
        return np.zeros(count, "<f4")
    if name.lower().endswith("norm.weight"):
        return np.ones(count, "<f4")
    words = bits.random_raw((count + 1) // 2).astype("<u8", copy=False).view("<u4")[:count]
    centred = (words >> 8).astype("<f4") - np.float32(1 << 23)  # integers from -2**23
    return centred * np.float32(SPREAD * math.sqrt(3) / (1 << 23))


def tokenizer() -> bytes:
    """A tokenizer.json whose pieces are single ASCII characters: any English text, many tokens."""
    characters = [c for c in string.printable if not c.isspace() and not c.isupper()]
    pieces = (*SPECIAL, *characters, *(f"##{c}" for c in characters))
    model = models.WordPiece(
        {piece: index for index, piece in enumerate(pieces)}, unk_token="[UNK]"
    )
    made = tokenizers.Tokenizer(model)
    made.normalizer = normalizers.BertNormalizer()
    made.pre_tokenizer = pre_tokenizers.BertPreTokenizer()
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        special_tokens=[(name, SPECIAL.index(name)) for name in ("[CLS]", "[SEP]")],
    )
    made.decoder = decoders.WordPiece()
    made.add_special_tokens(list(SPECIAL))
    return made.to_str(pretty=False).encode()


def seed(row: Row) -> int:
    """The row's seed; SourceError where it is none."""
    cell = row["seed"].strip()
    if not (cell.isascii() and cell.isdecimal() and int(cell) <= MAX_SEED):
        raise SourceError(row, "seed", found=repr(cell), expected="a number from 0 to 2**64 - 1")
    return int(cell)
