"""Our weights in the peers' formats: `python -m bench.peers.export SOURCE FOLDER TEXTS`.

    transformers/           config, weights, tokenizer, as sentence-transformers loads them
    model.onnx              the whole encoder, pooling and normalisation included
    model.int8.onnx         weights int8 per channel, activations dynamic, by ONNX Runtime
    openvino.int8.xml       quantised by nncf, calibrated on TEXTS (a JSON list)
    formats.json            digests of all of it and the versions that made it; written last

Runs in the peers' environment. ONNX Runtime optimises a graph when it loads it; its separate
optimiser for BERT fuses more and was 2 to 14 % slower at 8 to 256 tokens, so it is left out.
"""

from __future__ import annotations

import json
import sys
import warnings
from collections.abc import Iterator
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import nncf
import openvino
import torch
from onnxruntime.quantization import QuantType, quantize_dynamic
from safetensors.torch import load_file
from torch import Tensor, nn
from transformers import (
    BertConfig,
    BertModel,
    DistilBertConfig,
    DistilBertModel,
    PreTrainedModel,
    PreTrainedTokenizerFast,
)

from bench.peers.encoders import tokenizer, tokens

LIBRARIES = ("torch", "transformers", "onnx", "onnxruntime", "openvino", "nncf")
OURS_ALONE = ("max_seq_length", "num_labels", "precision")
MODELS = {
    "bert": lambda config: BertModel(BertConfig(**config), add_pooling_layer=False),
    "distilbert": lambda config: DistilBertModel(DistilBertConfig(**config)),
}
ALLOWED_EXTRA = {"embeddings.position_ids", "pooler.dense.bias", "pooler.dense.weight"}
NAMES = ["input_ids", "attention_mask"]
OPSET = 17


class Pooled(nn.Module):
    """An encoder, the mean over its tokens, and length 1: (B, L) ids and mask to (B, H)."""

    def __init__(self, encoder: nn.Module) -> None:
        super().__init__()
        self.encoder = encoder

    def forward(self, input_ids: Tensor, attention_mask: Tensor) -> Tensor:
        found = self.encoder(input_ids=input_ids, attention_mask=attention_mask)
        states = found.last_hidden_state  # (B, L, H)
        keep = attention_mask.unsqueeze(-1).to(states.dtype)  # (B, L, 1)
        return nn.functional.normalize((states * keep).sum(1) / keep.sum(1), dim=-1)


def main() -> None:
    """All of it, in order."""
    source, folder, texts = (Path(argument) for argument in sys.argv[1:4])
    folder.mkdir(parents=True, exist_ok=True)
    encoder = load(source)
    save(encoder, source, folder / "transformers")
    trace(encoder, folder / "model.onnx")
    quantize_dynamic(
        folder / "model.onnx", folder / "model.int8.onnx",
        weight_type=QuantType.QInt8, per_channel=True,
    )  # fmt: skip
    calibrate(source, folder, json.loads(texts.read_text()))
    (folder / "formats.json").write_text(json.dumps(told(folder), indent=2, sort_keys=True) + "\n")


def load(source: Path) -> PreTrainedModel:
    """transformers' model with these weights and no others."""
    told = json.loads((source / "source.json").read_text())
    config = {name: told["config"][name] for name in told["config"] if name not in OURS_ALONE}
    encoder: PreTrainedModel = MODELS[told["architecture"]](config)
    missing, extra = encoder.load_state_dict(load_file(source / "model.safetensors"), strict=False)
    if missing or set(extra) - ALLOWED_EXTRA:
        raise ValueError(f"weights: found {missing} missing and {extra} beyond, expected neither")
    return encoder.eval()


def save(encoder: PreTrainedModel, source: Path, folder: Path) -> None:
    """As transformers reads it; the tokenizer is the very file that ours reads."""
    encoder.save_pretrained(folder)
    words = PreTrainedTokenizerFast(tokenizer_file=str(source / "tokenizer.json"))
    words.pad_token, words.model_max_length = "[PAD]", encoder.config.max_position_embeddings
    words.save_pretrained(folder)


def trace(encoder: PreTrainedModel, path: Path) -> None:
    """To ONNX, with any batch and length. Plain attention: what optimisers know."""
    encoder.set_attn_implementation("eager")
    ids = torch.zeros((2, 16), dtype=torch.int64)  # only the shapes count
    axes = {0: "batch", 1: "length"}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # the exporter warns of itself
        torch.onnx.export(
            Pooled(encoder), (ids, torch.ones_like(ids)), str(path),
            input_names=NAMES, output_names=["pooled"], opset_version=OPSET, dynamo=False,
            dynamic_axes=dict.fromkeys(NAMES, axes),
        )  # fmt: skip


def calibrate(source: Path, folder: Path, texts: list[str]) -> None:
    """OpenVINO's int8: post-training, for transformers, on real text."""
    words = tokenizer(source)

    def inputs(text: str) -> dict[str, Any]:
        return dict(zip(NAMES, tokens(words, [text]), strict=True))

    quantised = nncf.quantize(
        openvino.convert_model(folder / "model.onnx"), nncf.Dataset(texts, inputs),
        model_type=nncf.ModelType.TRANSFORMER, subset_size=len(texts),
    )  # fmt: skip
    openvino.save_model(quantised, folder / "openvino.int8.xml", compress_to_fp16=False)


def told(folder: Path) -> dict[str, Any]:
    """What was made, and by what."""
    return {
        "files": dict(_digests(folder)),
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
    }


def _digests(folder: Path) -> Iterator[tuple[str, str]]:
    for path in sorted(folder.rglob("*")):
        if path.is_file() and path.name != "formats.json":
            yield path.relative_to(folder).as_posix(), sha256(path.read_bytes()).hexdigest()


if __name__ == "__main__":
    main()
