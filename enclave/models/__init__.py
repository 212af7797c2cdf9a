"""What a model's architecture offers: one readable file each, functional torch on weight views.

An architecture is a module. Its weights come as one safetensors file in memory, its dimensions as
the map of a signed manifest under the names of Hugging Face's config.json.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Protocol, runtime_checkable

if TYPE_CHECKING:
    from torch import Tensor

Dimensions = Mapping[str, int | float | str]
Release = Callable[[int, int], None]


# How torch's threads (OpenMP's) wait and where they run; read once, when torch is imported.
#
# An idle one looks for work so often before it sleeps, about half a millisecond: long enough
# between two layers, where waking it costs up to half of a short pass, and over soon after the last
# one. Each has a processor to itself: two that share one wait for each other until the kernel sees
# it, and on a busy host a twentieth of all requests took twice as long.
def _import_torch() -> None:
    """So that neither this thread, which OpenMP would bind too, nor a child is left with it."""
    cpus, before = os.sched_getaffinity(0), dict(os.environ)
    os.environ["GOMP_SPINCOUNT"] = "10000"
    os.environ["OMP_PROC_BIND"] = "close"
    os.environ["OMP_PLACES"] = ",".join(f"{{{cpu}}}" for cpu in sorted(cpus))  # needs no /sys
    import torch  # noqa: F401

    os.sched_setaffinity(0, cpus)
    os.environ.clear()
    os.environ.update(before)


_import_torch()


class Loaded(Protocol):
    """Weights that can be computed with."""

    @property
    def max_tokens(self) -> int:
        """Longest text it takes, special tokens included."""

    @property
    def packed(self) -> bool:
        """Whether its linear layers were repacked for this CPU."""


@runtime_checkable
class Encoder(Loaded, Protocol):
    """Loaded weights that turn a text, cut at `max_tokens`, into one row of numbers."""

    def embed(self, token_ids: Tensor, mask: Tensor, /) -> Tensor:
        """(B, L) int64 ids and their (B, L) mask to (B, O) float32, contiguous.

        Rows of length 1, or the logits of a classification head.
        """


@runtime_checkable
class Generator(Loaded, Protocol):
    """Loaded weights that go on from a prompt, token by token, and say how likely a text is."""

    def score(self, ids: list[int], /) -> tuple[float, int]:
        """The sum of ln p of every id but the first, each given all before it, and their number."""

    def generate(
        self, prompt: list[int], /, *, max_new_tokens: int, temperature: float, seed: int
    ) -> Iterator[int]:
        """Sampled ids, until a stop id, which does not come, or as many as were asked for.

        `temperature` 0 takes the likeliest. RemoteProtocolError where the prompt and
        `max_new_tokens` together are more than `max_tokens`.
        """


Model = Encoder | Generator


class Architecture(Protocol):
    """A module of this folder; anything wrong with its input is a RemoteProtocolError."""

    def dimensions(self, values: Mapping[str, object], /) -> Dimensions:
        """What this architecture needs of a config.json, checked, with defaults filled in."""

    def shapes(self, dimensions: Mapping[str, object], /) -> Mapping[str, tuple[int, ...]]:
        """Name and shape of every tensor that `load` reads, as in floats, in file order."""

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


@runtime_checkable
class Quantised(Architecture, Protocol):
    """An architecture that serves other precisions than fp32 (see `quantised`)."""

    def precisions(self, dimensions: Mapping[str, object], /) -> Mapping[str, str]:
        """Every tensor that is not stored as float32, and its precision."""
