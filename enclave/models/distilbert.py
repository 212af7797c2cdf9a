"""DistilBERT as an embedding, or with its head for classifying a text, by configuration.

Source: Sanh et al., DistilBERT, a distilled version of BERT, 2019: BERT with half the layers and
without token types. What happens to a text stands in `encoder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

import torch
from torch import Tensor
from torch.nn import functional

from enclave.models import Release, safetensors
from enclave.models.encoder import Embedder, Trunk
from enclave.models.linear import Linear
from enclave.models.parts import (
    Bytes,
    Names,
    Parts,
    Size,
    configured,
    entries,
    layer_precisions,
    layer_shapes,
    refuse,
)

NAMES = Names(
    layer="transformer.layer",
    query_key_value=("attention.q_lin", "attention.k_lin", "attention.v_lin"),
    attention_output="attention.out_lin",
    attention_norm="sa_layer_norm",
    up="ffn.lin1",
    down="ffn.lin2",
    output_norm="output_layer_norm",
)
UNUSED = ("vocab_",)  # the head that guesses words
CLASSIFIER = "DistilBertForSequenceClassification"


@dataclass(frozen=True, slots=True)
class Config:
    """Names and meanings of Hugging Face's config.json; the defaults are distilbert-base-uncased.

    With `num_labels` 0 it embeds. `max_seq_length` counts tokens, special ones included.
    """

    vocab_size: int = 30522
    dim: int = 768
    n_layers: int = 6
    n_heads: int = 12
    hidden_dim: int = 3072
    max_position_embeddings: int = 512
    max_seq_length: int = 512
    num_labels: int = 0
    activation: str = "gelu"
    precision: str = "fp32"

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Config:
        """Check a map from outside; RemoteProtocolError for what this file does not compute."""
        config = configured(cls, values)
        config.size.check()
        if config.activation != "gelu":
            refuse("config activation", config.activation, "gelu")
        return config

    @property
    def size(self) -> Size:
        """The dimensions that all encoders have."""
        return Size(
            vocabulary=self.vocab_size,
            positions=self.max_position_embeddings,
            hidden=self.dim,
            layers=self.n_layers,
            heads=self.n_heads,
            wide=self.hidden_dim,
            max_tokens=self.max_seq_length,
            epsilon=1e-12,  # written out in the reference, not configured
            precision=self.precision,
        )


@dataclass(frozen=True, slots=True)
class Classifier:
    """A model that says how much speaks for each label."""

    trunk: Trunk
    before: Linear  # H -> H
    labels: Linear  # H -> number of labels

    @property
    def max_tokens(self) -> int:
        """Longest text it takes, special tokens included; longer ones are cut."""
        return self.trunk.max_tokens

    @property
    def packed(self) -> bool:
        """Whether its linear layers were repacked for this CPU."""
        return self.trunk.packed

    def embed(self, token_ids: Tensor, mask: Tensor) -> Tensor:
        """(B, L) int64 ids and their (B, L) mask to (B, labels) float32, the logits."""
        with torch.inference_mode():
            x, _ = self.trunk(token_ids, mask)  # (B, L, H)
            first = x[:, 0].contiguous()  # (B, H): the vector of [CLS]
            return self.labels(functional.relu(self.before(first)))  # (B, labels)


def dimensions(values: Mapping[str, object]) -> dict[str, int | float | str]:
    """What a config.json says of this architecture, checked, defaults filled in.

    The rest of a config.json is ignored but for what would make it another architecture. Labels
    are counted where it says that it classifies: it lists their names, not their number.
    """
    if values.get("model_type", "distilbert") != "distilbert":
        refuse("config model_type", values["model_type"], "distilbert")
    names = {field.name for field in fields(Config)}
    chosen = {name: value for name, value in values.items() if name in names}
    if values.get("architectures") == [CLASSIFIER]:
        labels = values.get("id2label", {0: "", 1: ""})
        chosen.setdefault("num_labels", len(labels) if isinstance(labels, dict) else 2)
    return asdict(Config.of(chosen))


def shapes(dimensions: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that is read, as it is before it is quantised."""
    config = Config.of(dimensions)
    hidden, labels = config.dim, config.num_labels
    head: dict[str, tuple[int, ...]] = {
        "pre_classifier.weight": (hidden, hidden),
        "pre_classifier.bias": (hidden,),
        "classifier.weight": (labels, hidden),
        "classifier.bias": (labels,),
    }
    return {
        "embeddings.word_embeddings.weight": (config.vocab_size, hidden),
        "embeddings.position_embeddings.weight": (config.max_position_embeddings, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
        **layer_shapes(NAMES, config.size),
        **(head if labels else {}),
    }


def precisions(dimensions: Mapping[str, object]) -> dict[str, str]:
    """The tensors of `shapes` that a file holds in another precision than fp32; none of a head."""
    return layer_precisions(NAMES, Config.of(dimensions).size)


def check(weights: Bytes, dimensions: Mapping[str, object]) -> None:
    """Whether a safetensors header holds exactly the tensors of these dimensions."""
    _entries(weights, dimensions)


def load(
    weights: Bytes,
    dimensions: Mapping[str, object],
    *,
    packed: bool | None = None,
    release: Release | None = None,
) -> Embedder | Classifier:
    """An encoder on views of `weights`; see `parts.Parts` for the rest."""
    config, found = Config.of(dimensions), _entries(weights, dimensions)
    parts = Parts(weights, found, config.size, packed=packed, release=release)
    trunk = parts.trunk(NAMES, parts.tensor("embeddings.position_embeddings.weight"))
    if not config.num_labels:
        return Embedder(trunk)
    return Classifier(trunk, parts.linear("pre_classifier"), parts.linear("classifier"))


def _entries(weights: Bytes, dimensions: Mapping[str, object]) -> dict[str, safetensors.Entry]:
    kinds = precisions(dimensions)
    return entries(weights, shapes(dimensions), kinds, prefix="distilbert.", unused=UNUSED)
