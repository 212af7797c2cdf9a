"""Make encoders-transformers.json: what transformers makes of small encoders of seeded weights.

    pip install transformers
    PYTHONPATH=. python tests/vectors/make_encoders.py

For each of `tests.enclave.tiny.ENCODERS`: the digest of its weights, which are drawn again where
they are compared, and for each batch its ids, its mask and `rows`: base64 of little-endian float32,
one row for each text.
"""

from __future__ import annotations

import base64
import json
from hashlib import sha256
from importlib import metadata
from pathlib import Path
from typing import Any

import torch
import transformers
from torch import Tensor

from tests.enclave.tiny import ENCODERS, tensors, tiny_file

TARGET = Path(__file__).with_name("encoders-transformers.json")
LIBRARIES = ("transformers", "torch", "numpy")
CLASSES = {
    "bert": (transformers.BertConfig, transformers.BertModel),
    "distilbert": (transformers.DistilBertConfig, transformers.DistilBertModel),
    "distilbert-classifier": (
        transformers.DistilBertConfig,
        transformers.DistilBertForSequenceClassification,
    ),
}


def main() -> None:
    vectors = {
        "made_by": "tests/vectors/make_encoders.py",
        "libraries": {name: metadata.version(name) for name in LIBRARIES},
        "encoders": {kind: encoder(kind) for kind in ENCODERS},
    }
    TARGET.write_text(json.dumps(vectors, indent=1) + "\n")


def encoder(kind: str) -> dict[str, Any]:
    dimensions, weights = ENCODERS[kind][1], tiny_file(kind)
    model = reference(kind, dimensions, weights)
    return {
        "dimensions": dimensions,
        "weights_sha256": sha256(weights).hexdigest(),
        "batches": [
            {"ids": ids.tolist(), "mask": mask.tolist(), "rows": packed(rows(model, ids, mask))}
            for ids, mask in batches()
        ],
    }


def batches() -> list[tuple[Tensor, Tensor]]:
    """No padding, one token, the longest text; three that are padded; all lengths at once."""
    chance = torch.Generator().manual_seed(3)
    found = []
    for lengths in ([12], [1], [32], [7, 12, 3], [32, 1, 17, 2, 31]):
        longest = max(lengths)
        ids = torch.randint(5, 90, (len(lengths), longest), generator=chance)
        mask = (torch.arange(longest) < torch.tensor(lengths).unsqueeze(1)).long()
        found.append((ids * mask, mask))
    return found


def reference(kind: str, dimensions: dict[str, Any], weights: bytearray) -> Any:
    """transformers' model of those weights; `num_labels` and names are its own."""
    config_class, model_class = CLASSES[kind]
    names = {name: value for name, value in dimensions.items() if name != "max_seq_length"}
    model = model_class(config_class(**names)).eval()
    inner = "distilbert." if kind.endswith("classifier") else ""
    values = {
        name if "classifier" in name else inner + name: value.clone()
        for name, value in tensors(weights).items()
    }
    missing, unexpected = model.load_state_dict(values, strict=False)
    unused = {"pooler.dense.weight", "pooler.dense.bias"}
    assert not unexpected, unexpected
    assert set(missing) <= unused, missing
    return model


@torch.inference_mode()
def rows(model: Any, ids: Tensor, mask: Tensor) -> Tensor:
    """Logits where it has some, else the mean of its tokens as sentence-transformers takes it."""
    found = model(input_ids=ids, attention_mask=mask)
    if hasattr(found, "logits"):
        logits: Tensor = found.logits
        return logits
    weight = mask.unsqueeze(-1).float()
    mean = (found.last_hidden_state * weight).sum(1) / weight.sum(1)
    return torch.nn.functional.normalize(mean, dim=-1)


def packed(rows: Tensor) -> list[str]:
    return [base64.b64encode(row.numpy().astype("<f4").tobytes()).decode() for row in rows]


if __name__ == "__main__":
    main()
