"""An encoder put together from a file: its configuration checked, its tensors found by name.

Published files name the same tensor in several ways: with the architecture in front
(`bert.embeddings...`), and layer norms in TensorFlow's words (`gamma`, `beta`). Both are read here.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn, TypeVar

import torch
from torch import Tensor

from enclave.models import Release, int8, linear, safetensors
from enclave.models.encoder import Layer, Norm, Trunk
from enclave.models.linear import Linear
from enclave.models.quantised import Stored, stored
from enclave.wire.errors import RemoteProtocolError

PRECISIONS = ("fp32", "q8")
TENSORFLOW = {"gamma": "weight", "beta": "bias"}

Shapes = Mapping[str, tuple[int, ...]]
Bytes = bytearray | memoryview
C = TypeVar("C")


@dataclass(frozen=True, slots=True)
class Names:
    """What an architecture calls the parts of layer `n` that stands under `{layer}.{n}.`."""

    layer: str
    query_key_value: tuple[str, str, str]
    attention_output: str
    attention_norm: str
    up: str
    down: str
    output_norm: str


@dataclass(frozen=True, slots=True)
class Size:
    """Dimensions, whatever an architecture calls them."""

    vocabulary: int
    positions: int
    hidden: int
    layers: int
    heads: int
    wide: int
    max_tokens: int
    epsilon: float
    precision: str

    def check(self) -> None:
        """RemoteProtocolError for an encoder that nobody could compute."""
        if self.hidden % self.heads:
            refuse("config hidden size", self.hidden, f"a multiple of {self.heads} heads")
        if not 2 <= self.max_tokens <= self.positions:
            refuse("config max_seq_length", self.max_tokens, f"2 to {self.positions} positions")
        if self.layers > 128:
            refuse("config layers", self.layers, "at most 128")
        if not 0 < self.epsilon < 1:
            refuse("config epsilon", self.epsilon, "more than 0, less than 1")
        if self.precision not in PRECISIONS:
            refuse("config precision", self.precision, " or ".join(PRECISIONS))


def configured(kind: type[C], values: Mapping[str, object]) -> C:
    """A dataclass of defaults with `values` over them: known names, exact types, no wild number."""
    defaults: dict[str, Any] = asdict(kind())  # type: ignore[call-overload]  # a dataclass
    for name, value in values.items():
        if name not in defaults:
            refuse(f"config {name}", value, f"only {', '.join(defaults)}")
        if type(value) is not type(defaults[name]):
            refuse(f"config {name}", repr(value), type(defaults[name]).__name__)
        least = min(1, defaults[name]) if type(value) is int else 0
        if type(value) is int and not least <= value <= 1 << 24:
            refuse(f"config {name}", value, f"{least} to 2**24")
    return kind(**(defaults | dict(values)))


def layer_shapes(names: Names, size: Size) -> dict[str, tuple[int, ...]]:
    """Name and shape of every tensor of every layer."""
    hidden, wide = size.hidden, size.wide
    found: dict[str, tuple[int, ...]] = {}
    for number in range(size.layers):
        for name, outputs, inputs in (
            *((part, hidden, hidden) for part in names.query_key_value),
            (names.attention_output, hidden, hidden),
            (names.attention_norm, hidden, 0),
            (names.up, wide, hidden),
            (names.down, hidden, wide),
            (names.output_norm, hidden, 0),
        ):
            weight = (outputs, inputs) if inputs else (outputs,)
            found[f"{names.layer}.{number}.{name}.weight"] = weight
            found[f"{names.layer}.{number}.{name}.bias"] = (outputs,)
    return found


def layer_precisions(names: Names, size: Size) -> dict[str, str]:
    """Every matrix of every layer, where the precision is not fp32."""
    if size.precision == "fp32":
        return {}
    shapes = layer_shapes(names, size)
    return {name: size.precision for name, shape in shapes.items() if len(shape) == 2}


def entries(
    weights: Bytes,
    shapes: Shapes,
    precisions: Mapping[str, str],
    *,
    prefix: str,
    unused: tuple[str, ...],
) -> dict[str, safetensors.Entry]:
    """Where each tensor of `shapes` lies, and the scales of those that have a precision.

    RemoteProtocolError for a file that lacks one, and for one that holds anything else but what
    begins with a name of `unused`.
    """
    expected: dict[str, Stored] = {}
    for name, shape in shapes.items():
        expected |= stored(name, shape, precisions.get(name, "fp32"))
    found = {_canonical(name, prefix): at for name, at in safetensors.entries(weights).items()}
    if unknown := [name for name in found.keys() - expected if not name.startswith(unused)]:
        refuse("tensors", sorted(unknown)[:3], "only those of the architecture")
    for name, (dtype, shape) in expected.items():
        entry = found.get(name)
        if entry is None:
            refuse("tensors", f"no {name}", f"{dtype} {shape}")
        if entry.dtype != dtype or entry.shape != shape:
            refuse(f"tensor {name}", f"{entry.dtype} {entry.shape}", f"{dtype} {shape}")
    return found


def _canonical(name: str, prefix: str) -> str:
    stem, dot, kind = name.removeprefix(prefix).rpartition(".")
    return stem + dot + TENSORFLOW.get(kind, kind)


class Parts:
    """A file's tensors, put together by name; packed wherever that works, unless told.

    Linear weights are copied where they are fused or packed, one at a time, and `release(start,
    length)` then hears which bytes of `weights` are no longer looked at: an owner that drops them
    holds the weights once, not one and a half times.
    """

    def __init__(
        self,
        weights: Bytes,
        entries: Mapping[str, safetensors.Entry],
        size: Size,
        *,
        packed: bool | None,
        release: Release | None,
    ) -> None:
        kernels = int8 if size.precision == "q8" else linear
        self.packed = kernels.packing_works() if packed is None else packed
        self._weights = weights
        self._entries = entries
        self._size = size
        self._release = release

    def trunk(self, names: Names, places: Tensor) -> Trunk:
        """Everything up to one vector a token."""
        layers = (self._layer(names, f"{names.layer}.{n}.") for n in range(self._size.layers))
        return Trunk(
            self._size.max_tokens,
            self.packed,
            self.tensor("embeddings.word_embeddings.weight"),
            places,
            self._norm("embeddings.LayerNorm"),
            tuple(layers),
        )

    def tensor(self, name: str) -> Tensor:
        """A view."""
        return safetensors.view(self._weights, self._entries[name])

    def linear(self, *names: str) -> Linear:
        """Several layers of the same input are fused into one."""
        weight = self._joined(names, "weight")
        bias = self._joined(names, "bias")
        if f"{names[0]}.weight.scale" in self._entries:
            scale = self._joined(names, "weight.scale")
            rounded = int8.Packed if self.packed else int8.Plain
            layer: Linear = rounded(weight, scale, bias)
        else:
            layer = (linear.Packed if self.packed else linear.Plain)(weight, bias)
        if self._release and (self.packed or len(names) > 1):
            for entry in (self._entries[f"{name}.weight"] for name in names):
                self._release(entry.start, entry.stop - entry.start)
        return layer

    def _layer(self, names: Names, at: str) -> Layer:
        return Layer(
            self._size.heads,
            self.linear(*(at + part for part in names.query_key_value)),
            self.linear(at + names.attention_output),
            self._norm(at + names.attention_norm),
            self.linear(at + names.up),
            self.linear(at + names.down),
            self._norm(at + names.output_norm),
        )

    def _norm(self, name: str) -> Norm:
        weight, bias = self.tensor(f"{name}.weight"), self.tensor(f"{name}.bias")
        return Norm(weight, bias, self._size.epsilon)

    def _joined(self, names: tuple[str, ...], kind: str) -> Tensor:
        tensors = [self.tensor(f"{name}.{kind}") for name in names]
        return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def refuse(what: str, found: object, expected: object) -> NoReturn:
    """Raise the RemoteProtocolError that says so."""
    raise RemoteProtocolError(f"{what}: found {found}, expected {expected}"[:500])
