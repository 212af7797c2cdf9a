"""Another device than the CPU, stood in for by torch's `meta`, which knows shapes and no values.

What lies on two devices cannot be computed with there either; values are a matter for real ones.
"""

from __future__ import annotations

from collections.abc import Iterator

import pytest
import torch

from enclave.memory import Buffer
from enclave.models import engine, llama
from enclave.models.distilbert import Classifier
from enclave.models.encoder import Embedder
from enclave.wire.errors import VerificationError
from tests.enclave.tiny import ENCODERS, tiny_batch, tiny_file
from tests.vectors.make_llama import CONFIG, ROPES, weights

CPU = torch.device("cpu")


@pytest.fixture
def meta() -> Iterator[None]:
    torch.set_default_device("meta")
    yield
    torch.set_default_device(None)


@pytest.mark.parametrize("kind", ENCODERS)
def test_an_encoder_computes_where_its_weights_are(
    kind: str, request: pytest.FixtureRequest
) -> None:
    ids, mask = tiny_batch()
    module, dimensions = ENCODERS[kind]
    data = tiny_file(kind)
    request.getfixturevalue("meta")
    model = module.load(data, dimensions, packed=False)
    assert isinstance(model, Embedder | Classifier)
    assert model.trunk.words.is_meta
    rows = model.embed(ids.to(CPU), mask.to(CPU))
    assert rows.is_meta
    assert rows.shape == (3, 3 if kind.endswith("classifier") else 48)


def test_a_decoder_computes_where_its_weights_are(request: pytest.FixtureRequest) -> None:
    dimensions = llama.dimensions(CONFIG | next(iter(ROPES.values())))
    data = weights(dimensions)
    request.getfixturevalue("meta")
    model = llama.load(data, dimensions, packed=False)
    logits = model.logits([1, 2, 3])
    assert logits.is_meta
    assert logits.shape == (3, dimensions["vocab_size"])


@pytest.mark.skipif(torch.cuda.is_available(), reason="a CUDA device is here")
def test_a_device_that_is_not_there_is_refused_by_name() -> None:
    with pytest.raises(VerificationError, match=r"(?s)device.*no CUDA device.*hint: set device"):
        engine.load("bert", {}, Buffer(8), b"", threads=1, device="cuda")
