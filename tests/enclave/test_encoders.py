"""Every encoder against transformers and, with its weights in int8, against itself."""

from __future__ import annotations

import json
import mmap
from hashlib import sha256
from pathlib import Path
from typing import Any

import pytest
import torch
from torch.nn import functional

from enclave.models import int8, linear
from enclave.wire.errors import RemoteProtocolError
from tests.enclave.tiny import ENCODERS, file, quantised, rows, tensors, tiny_batch, tiny_file

VECTORS = Path(__file__).parents[1] / "vectors" / "encoders-transformers.json"
TOLERANCE = 1e-5
KERNELS = pytest.mark.parametrize("packed", [False, True], ids=["plain", "packed"])
KINDS = pytest.mark.parametrize("kind", ENCODERS)
PRECISIONS = pytest.mark.parametrize("precision", ["fp32", "q8"])


def rounded(kind: str) -> bytearray:
    """tiny_file in q8."""
    module, dimensions = ENCODERS[kind]
    return quantised(module, tiny_file(kind), dimensions)


def load(kind: str, *, precision: str = "fp32", packed: bool = False, **options: Any) -> Any:
    """A tiny encoder; a skip where its kernels do not work here."""
    kernels = linear if precision == "fp32" else int8
    if packed and not kernels.packing_works():
        pytest.skip("this torch cannot pack such weights on this processor")
    module, dimensions = ENCODERS[kind]
    data = options.pop("data", None) or (tiny_file(kind) if precision == "fp32" else rounded(kind))
    return module.load(data, dimensions | {"precision": precision}, packed=packed, **options)


@KERNELS
@KINDS
def test_an_encoder_is_that_of_transformers(kind: str, packed: bool) -> None:
    vectors = json.loads(VECTORS.read_text())["encoders"][kind]
    assert vectors["dimensions"] == ENCODERS[kind][1]
    assert vectors["weights_sha256"] == sha256(tiny_file(kind)).hexdigest()
    model = load(kind, packed=packed)
    for batch in vectors["batches"]:
        found = model.embed(torch.tensor(batch["ids"]), torch.tensor(batch["mask"]))
        assert (found - rows(batch["rows"])).abs().max() < TOLERANCE


@KINDS
def test_an_encoder_is_that_of_the_installed_transformers(kind: str) -> None:
    pytest.importorskip("transformers", reason="not installed; committed vectors stand in for it")
    from tests.vectors import make_encoders

    dimensions = ENCODERS[kind][1]
    theirs = make_encoders.reference(kind, dimensions, tiny_file(kind))
    for ids, mask in make_encoders.batches():
        expected = make_encoders.rows(theirs, ids, mask)
        assert (load(kind).embed(ids, mask) - expected).abs().max() < TOLERANCE


@PRECISIONS
@KERNELS
@KINDS
def test_padding_changes_nothing(kind: str, packed: bool, precision: str) -> None:
    model, (ids, mask) = load(kind, precision=precision, packed=packed), tiny_batch()
    together = model.embed(ids, mask)
    for row, kept, expected in zip(ids, mask.bool(), together, strict=True):
        alone = row[kept].unsqueeze(0)
        found = model.embed(alone, torch.ones_like(alone))
        # rounding to int8 can turn over at the last bit of a float32
        assert (found[0] - expected).abs().max() < (TOLERANCE if precision == "fp32" else 5e-3)


@KINDS
def test_what_stands_in_the_padding_is_not_read(kind: str) -> None:
    model, (ids, mask) = load(kind), tiny_batch()
    scribbled = torch.where(mask.bool(), ids, 77)
    assert torch.equal(model.embed(ids, mask), model.embed(scribbled, mask))


@KERNELS
def test_a_text_does_not_change_what_another_gives(packed: bool) -> None:
    """One whose activations are a thousand times larger, which a scale for all would show."""
    data = rounded("bert")
    tensors(data)["embeddings.LayerNorm.weight"][:] = 0.1
    tensors(data)["embeddings.word_embeddings.weight"][89] = 1000
    model = load("bert", precision="q8", packed=packed, data=data)
    text, loud = torch.tensor([[5, 6, 7]]), torch.tensor([[89, 89, 89]])
    both = torch.cat((text, loud))
    found = model.embed(both, torch.ones_like(both))[:1]
    assert (found - model.embed(text, torch.ones_like(text))).abs().max() < TOLERANCE


@KINDS
def test_a_mask_may_be_of_any_kind(kind: str) -> None:
    model, (ids, mask) = load(kind), tiny_batch()
    for other in (torch.bool, torch.float32, torch.uint8):
        assert torch.equal(model.embed(ids, mask), model.embed(ids, mask.to(other)))


@PRECISIONS
@KINDS
def test_rows_are_contiguous_float32(kind: str, precision: str) -> None:
    found = load(kind, precision=precision).embed(*tiny_batch())
    width = ENCODERS[kind][1].get("num_labels", 48)
    assert (found.dtype, found.shape, found.is_contiguous()) == (torch.float32, (3, width), True)
    if width == 48:
        assert torch.allclose(found.norm(dim=1), torch.ones(3))


def unseen(name: str) -> bool:
    """A constant added to every score of a query, which softmax does not see."""
    return name.endswith(("attention.self.key.bias", "attention.k_lin.bias"))


@pytest.mark.parametrize(
    ("kind", "name"),
    [
        (kind, name)
        for kind, (module, dimensions) in ENCODERS.items()
        for name in module.shapes(dimensions)
        if not unseen(name)
    ],
)
def test_every_tensor_takes_part(kind: str, name: str) -> None:
    data, batch = tiny_file(kind), tiny_batch()
    before = load(kind, data=data).embed(*batch)
    tensor = tensors(data)[name]
    tensor.copy_(tensor.flip(0) if tensor.dim() == 1 else tensor.flip(-1))
    assert (before - load(kind, data=data).embed(*batch)).abs().max() > 1e-4


@PRECISIONS
@KERNELS
def test_released_bytes_are_not_looked_at_again(packed: bool, precision: str) -> None:
    data = tiny_file() if precision == "fp32" else rounded("bert")
    expected = load("bert", precision=precision, packed=packed, data=data).embed(*tiny_batch())
    buffer = mmap.mmap(-1, len(data), flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS)
    buffer[:] = bytes(data)
    released = []

    def release(start: int, length: int) -> None:
        released.append(length)
        buffer[start : start + length] = b"\xff" * length

    model = load(
        "bert", precision=precision, packed=packed, data=memoryview(buffer), release=release
    )
    assert torch.equal(model.embed(*tiny_batch()), expected)
    fused, rest = 3 * 48 * 48, 48 * 48 + 2 * 48 * 80  # query, key, value; output, up, down
    size = 4 if precision == "fp32" else 1
    assert sum(released) == 2 * size * (fused + rest if packed else fused)


@KINDS
def test_int8_stays_close_to_float32(kind: str) -> None:
    expected, found = (load(kind, precision=p).embed(*tiny_batch()) for p in ("fp32", "q8"))
    assert functional.cosine_similarity(expected, found).min() > 0.999
    assert not torch.equal(expected, found)


@KINDS
def test_a_file_of_another_precision_is_refused(kind: str) -> None:
    with pytest.raises(RemoteProtocolError, match="I8"):
        load(kind, precision="q8", data=tiny_file(kind))
    with pytest.raises(RemoteProtocolError, match="only those of the architecture"):
        load(kind, precision="fp32", data=rounded(kind))


@KINDS
def test_published_names_are_read(kind: str) -> None:
    """The architecture in front, layer norms in TensorFlow's words, and heads of no use here."""
    module, dimensions = ENCODERS[kind]
    values = {}
    for name, value in tensors(tiny_file(kind)).items():
        if "Norm" in name or "norm" in name:
            name = name.replace(".weight", ".gamma").replace(".bias", ".beta")
        inner = "" if "classifier" in name else f"{module.__name__.split('.')[-1]}."
        values[inner + name] = value
    values["cls.predictions.bias" if kind == "bert" else "vocab_projector.bias"] = torch.ones(90)
    found = module.load(file(values), dimensions, packed=False).embed(*tiny_batch())
    assert torch.equal(found, load(kind).embed(*tiny_batch()))
