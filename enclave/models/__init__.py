"""What a model's architecture offers: one readable file each, functional torch on weight views.

An architecture is a module. Its weights come as one safetensors file in memory, its dimensions as
the map of a signed manifest under the names of Hugging Face's config.json.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from torch import Tensor

Dimensions = Mapping[str, int | float | str]
Release = Callable[[int, int], None]


class Model(Protocol):
    """Loaded weights that embed texts."""

    @property
    def max_tokens(self) -> int:
        """Longest text it takes, special tokens included; longer ones are cut."""

    @property
    def packed(self) -> bool:
        """Whether its linear layers were repacked for this CPU."""

    def embed(self, token_ids: Tensor, mask: Tensor, /) -> Tensor:
        """(B, L) int64 ids and their (B, L) mask to (B, H) float32 rows of length 1."""


class Architecture(Protocol):
    """A module of this folder; anything wrong with its input is a RemoteProtocolError."""

    def dimensions(self, values: Mapping[str, object], /) -> Dimensions:
        """What this architecture needs of a config.json, checked, with defaults filled in."""

    def shapes(self, dimensions: Mapping[str, object], /) -> Mapping[str, tuple[int, ...]]:
        """Name and shape of every float32 tensor that `load` reads, in file order."""

    def check(self, weights: memoryview, dimensions: Mapping[str, object], /) -> None:
        """Whether the header of a safetensors file holds those tensors; no tensor is read."""

    def load(
        self,
        weights: memoryview,
        dimensions: Mapping[str, object],
        /,
        *,
        release: Release | None = None,
    ) -> Model:
        """A model on views of `weights`, which must be writable and stay alive and unchanged.

        `release(start, length)` is told of each run of bytes of `weights` that no view needs any
        more, as soon as that is so; its owner may drop those pages.
        """
