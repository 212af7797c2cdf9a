"""BERT as an embedding: MiniLM-L6, MiniLM-L12 and BERT-base, by configuration.

Sources: Devlin et al., BERT, 2019; Wang et al., MiniLM, 2020. Mean pooling and rows of length 1, as
sentence-transformers runs them. What happens to a text stands in `encoder`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields

from enclave.models import Release, safetensors
from enclave.models.encoder import Embedder
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
    layer="encoder.layer",
    query_key_value=("attention.self.query", "attention.self.key", "attention.self.value"),
    attention_output="attention.output.dense",
    attention_norm="attention.output.LayerNorm",
    up="intermediate.dense",
    down="output.dense",
    output_norm="output.LayerNorm",
)
# In published files and of no use here: positions 0..511, a classifier's pooling, the word guesser.
UNUSED = ("embeddings.position_ids", "pooler.", "cls.")


@dataclass(frozen=True, slots=True)
class Config:
    """Names and meanings of Hugging Face's config.json; the defaults are MiniLM-L6-v2.

    `max_seq_length` counts tokens, special ones included (sentence_bert_config.json).
    """

    vocab_size: int = 30522
    hidden_size: int = 384
    num_hidden_layers: int = 6
    num_attention_heads: int = 12
    intermediate_size: int = 1536
    max_position_embeddings: int = 512
    type_vocab_size: int = 2
    max_seq_length: int = 256
    layer_norm_eps: float = 1e-12
    hidden_act: str = "gelu"
    precision: str = "fp32"

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Config:
        """Check a map from outside; RemoteProtocolError for what this file does not compute."""
        config = configured(cls, values)
        config.size.check()
        if config.hidden_act != "gelu":
            refuse("config hidden_act", config.hidden_act, "gelu")
        return config

    @property
    def size(self) -> Size:
        """The dimensions that all encoders have."""
        return Size(
            vocabulary=self.vocab_size,
            positions=self.max_position_embeddings,
            hidden=self.hidden_size,
            layers=self.num_hidden_layers,
            heads=self.num_attention_heads,
            wide=self.intermediate_size,
            max_tokens=self.max_seq_length,
            epsilon=self.layer_norm_eps,
            precision=self.precision,
        )


def dimensions(values: Mapping[str, object]) -> dict[str, int | float | str]:
    """What a config.json says of this architecture, checked, defaults filled in.

    The rest of a config.json is ignored but for what would make it another architecture.
    """
    for name, value in (("model_type", "bert"), ("position_embedding_type", "absolute")):
        if values.get(name, value) != value:
            refuse(f"config {name}", values[name], value)
    names = {field.name for field in fields(Config)}
    return asdict(Config.of({name: value for name, value in values.items() if name in names}))


def shapes(dimensions: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor that is read, as it is before it is quantised."""
    config = Config.of(dimensions)
    hidden = config.hidden_size
    return {
        "embeddings.word_embeddings.weight": (config.vocab_size, hidden),
        "embeddings.position_embeddings.weight": (config.max_position_embeddings, hidden),
        "embeddings.token_type_embeddings.weight": (config.type_vocab_size, hidden),
        "embeddings.LayerNorm.weight": (hidden,),
        "embeddings.LayerNorm.bias": (hidden,),
        **layer_shapes(NAMES, config.size),
    }


def precisions(dimensions: Mapping[str, object]) -> dict[str, str]:
    """The tensors of `shapes` that a file holds in another precision than fp32."""
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
) -> Embedder:
    """An encoder on views of `weights`; see `parts.Parts` for the rest."""
    size, found = Config.of(dimensions).size, _entries(weights, dimensions)
    parts = Parts(weights, found, size, packed=packed, release=release)
    places = parts.tensor("embeddings.position_embeddings.weight")  # (positions, H)
    types = parts.tensor("embeddings.token_type_embeddings.weight")  # (types, H)
    return Embedder(parts.trunk(NAMES, places + types[0]))


def _entries(weights: Bytes, dimensions: Mapping[str, object]) -> dict[str, safetensors.Entry]:
    kinds = precisions(dimensions)
    return entries(weights, shapes(dimensions), kinds, prefix="bert.", unused=UNUSED)
