"""What a Llama's config.json says, and which tensors follow from it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass
from typing import NoReturn

from enclave.models.quantised import GROUP, PRECISIONS
from enclave.wire.errors import RemoteProtocolError

LAYER = "model.layers"
SERVED = 2048  # tokens that a model is asked for at most, unless its row says otherwise
# Names that would make it another architecture, and the values that do not.
SAME = {
    "model_type": ("llama",),
    "hidden_act": ("silu",),
    "attention_bias": (False, None),
    "mlp_bias": (False, None),
}


@dataclass(frozen=True, slots=True)
class Config:
    """Names and meanings of Hugging Face's config.json; the defaults are Llama-3-8B.

    Flattened and of this file: `max_seq_length`, prompt and answer together; `rope_*` but theta,
    the parameters of rope type llama3, with factor 1 for the default type; `eos_token_id`, any
    number of ids split by commas; `precision`, of the linear layers (see `quantised`).
    """

    vocab_size: int = 128256
    hidden_size: int = 4096
    num_hidden_layers: int = 32
    num_attention_heads: int = 32
    num_key_value_heads: int = 8
    head_dim: int = 128
    intermediate_size: int = 14336
    max_position_embeddings: int = 8192
    max_seq_length: int = SERVED
    rms_norm_eps: float = 1e-5
    rope_theta: float = 500000.0
    rope_factor: float = 1.0
    rope_low_freq_factor: float = 1.0
    rope_high_freq_factor: float = 4.0
    rope_original_positions: int = 8192
    tie_word_embeddings: int = 0
    eos_token_id: str = ""
    precision: str = "fp32"

    @property
    def stop_ids(self) -> frozenset[int]:
        """Ids that end an answer."""
        return frozenset(int(word) for word in self.eos_token_id.split(",") if word)

    @classmethod
    def of(cls, values: Mapping[str, object]) -> Config:
        """Check a map from outside: known names, exact types, a decoder that can be computed."""
        defaults = asdict(cls())
        for name, value in values.items():
            if name not in defaults:
                refuse(f"config {name}", value, f"only {', '.join(defaults)}")
            if type(value) is not type(defaults[name]):
                refuse(f"config {name}", repr(value), type(defaults[name]).__name__)
            if type(value) is int and not 0 <= value <= 1 << 24:
                refuse(f"config {name}", value, "0 to 2**24")
        config = cls(**(defaults | dict(values)))
        for name, holds, expected in config._rules():
            if not holds:
                refuse(f"config {name}", getattr(config, name), expected)
        return config

    def _rules(self) -> list[tuple[str, bool, str]]:
        """Field, whether it is as it must be, and how that is."""
        sizes = [
            (name, getattr(self, name) >= 1, "at least 1")
            for name in ("vocab_size", "hidden_size", "num_hidden_layers", "num_key_value_heads")
        ]
        shared = self.num_attention_heads % max(1, self.num_key_value_heads) == 0
        stops = self.eos_token_id.split(",") if self.eos_token_id else []
        known = all(word.isdecimal() and int(word) < self.vocab_size for word in stops)
        ordered = 0 < self.rope_low_freq_factor < self.rope_high_freq_factor
        inputs = (self.hidden_size, self.intermediate_size, self._width)
        whole = self.precision != "q4" or not any(size % GROUP for size in inputs)
        return [
            *sizes,
            ("num_hidden_layers", self.num_hidden_layers <= 256, "at most 256"),
            (
                "num_attention_heads",
                self.num_attention_heads >= 1 and shared,
                "a multiple of keys'",
            ),
            ("head_dim", self.head_dim >= 2 and self.head_dim % 2 == 0, "an even number"),
            ("intermediate_size", self.intermediate_size >= 1, "at least 1"),
            (
                "max_seq_length",
                2 <= self.max_seq_length <= self.max_position_embeddings,
                "2 to max_position_embeddings",
            ),
            ("rms_norm_eps", 0 < self.rms_norm_eps < 1, "more than 0, less than 1"),
            ("rope_theta", 1 < self.rope_theta < 1e12, "more than 1"),
            ("rope_factor", 1 <= self.rope_factor < 1e6, "at least 1"),
            ("rope_low_freq_factor", ordered, "more than 0, less than rope_high_freq_factor"),
            ("tie_word_embeddings", self.tie_word_embeddings in (0, 1), "0 or 1"),
            ("eos_token_id", known, "ids of the vocabulary, split by commas"),
            ("precision", self.precision in PRECISIONS, " or ".join(PRECISIONS)),
            ("hidden_size", whole, f"q4 with multiples of {GROUP}"),
        ]

    @property
    def _width(self) -> int:
        return self.num_attention_heads * self.head_dim


def dimensions(values: Mapping[str, object]) -> dict[str, int | float | str]:
    """What a config.json says of this architecture, checked, defaults filled in.

    The rest of a config.json is ignored but for what would make it another architecture. Rotary
    parameters may stand in `rope_scaling` or, as transformers 5 writes them, `rope_parameters`.
    """
    for name, allowed in SAME.items():
        if values.get(name, allowed[0]) not in allowed:
            refuse(f"config {name}", values[name], allowed[0])
    defaults = asdict(Config())
    found = {name: values[name] for name in defaults if values.get(name) is not None}
    hidden, heads = found.get("hidden_size"), found.get("num_attention_heads")
    if "head_dim" not in found and type(hidden) is int and type(heads) is int and heads:
        found["head_dim"] = hidden // heads
    found.setdefault("num_key_value_heads", heads or defaults["num_key_value_heads"])
    positions = found.get("max_position_embeddings", defaults["max_position_embeddings"])
    if type(positions) is int:
        found.setdefault("max_seq_length", min(SERVED, positions))
    found |= _rope(values)
    found["eos_token_id"] = _ids(values.get("eos_token_id"))
    for name, default in defaults.items():
        value = found.get(name)
        if type(default) is float and type(value) is int:
            found[name] = float(value)
        if type(value) is bool and name == "tie_word_embeddings":
            found[name] = int(value)
    return asdict(Config.of(found))


def shapes(dimensions: Mapping[str, object]) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor, as float32 weights have them, in file order."""
    config = Config.of(dimensions)
    hidden, wide = config.hidden_size, config.intermediate_size
    queries, keys = config._width, config.num_key_value_heads * config.head_dim
    found: dict[str, tuple[int, ...]] = {"model.embed_tokens.weight": (config.vocab_size, hidden)}
    for number in range(config.num_hidden_layers):
        for name, shape in (
            ("input_layernorm", (hidden,)),
            ("self_attn.q_proj", (queries, hidden)),
            ("self_attn.k_proj", (keys, hidden)),
            ("self_attn.v_proj", (keys, hidden)),
            ("self_attn.o_proj", (hidden, queries)),
            ("post_attention_layernorm", (hidden,)),
            ("mlp.gate_proj", (wide, hidden)),
            ("mlp.up_proj", (wide, hidden)),
            ("mlp.down_proj", (hidden, wide)),
        ):
            found[f"{LAYER}.{number}.{name}.weight"] = shape
    found["model.norm.weight"] = (hidden,)
    if not config.tie_word_embeddings:
        found["lm_head.weight"] = (config.vocab_size, hidden)
    return found


def precisions(dimensions: Mapping[str, object]) -> dict[str, str]:
    """Every tensor that is not stored as float32, and its precision.

    All matrices have the model's own. Embeddings that are the last layer too are bf16 in its
    stead: rows are looked up in them, which a packed layout does not allow.
    """
    config = Config.of(dimensions)
    if config.precision == "fp32":
        return {}
    found = {
        name: config.precision for name, shape in shapes(dimensions).items() if len(shape) == 2
    }
    if config.tie_word_embeddings:
        found["model.embed_tokens.weight"] = "bf16"
    return found


def _rope(values: Mapping[str, object]) -> dict[str, object]:
    """The two ways to write rotary parameters, flattened; nothing of what is flat already."""
    nested: dict[str, object] = {}
    for name in ("rope_scaling", "rope_parameters"):
        given = values.get(name)
        if isinstance(given, Mapping):
            nested |= given
    kind = nested.get("rope_type", nested.get("type", "default"))
    if kind not in ("default", "llama3"):
        refuse("config rope_type", kind, "default or llama3")
    renamed = {"rope_theta": "rope_theta"}
    if kind == "llama3":
        renamed |= {
            "factor": "rope_factor",
            "low_freq_factor": "rope_low_freq_factor",
            "high_freq_factor": "rope_high_freq_factor",
            "original_max_position_embeddings": "rope_original_positions",
        }
    return {ours: nested[theirs] for theirs, ours in renamed.items() if theirs in nested}


def _ids(value: object) -> str:
    """config.json's one id, list of ids or null; or what this file made of it."""
    if value is None or type(value) is str:
        return value or ""
    listed: Sequence[object] = value if isinstance(value, list) else [value]
    if not all(type(item) is int for item in listed):
        refuse("config eos_token_id", value, "an id or a list of ids")
    return ",".join(map(str, listed))


def refuse(what: str, found: object, expected: object) -> NoReturn:
    """Raise what is wrong with a model's description as its sender's fault."""
    raise RemoteProtocolError(f"{what}: found {found}, expected {expected}"[:500])
