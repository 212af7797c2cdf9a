"""Peers: other engines on the same weights, beside ours, in one run.

Every engine is a process of its own behind the same pipe, with the same CPUs and as many threads,
and times itself: what the pipe costs is in no number. Peers live in an environment of their own
(.venv-peers); a module of this folder that needs it is imported by nobody but `worker`.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Protocol

Message = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Order:
    """What a worker is started with: which side it is, and two folders of one model.

    `source` is what bench.weights leaves behind, `formats` what bench.peers.convert makes of it.
    """

    side: str
    source: Path
    formats: Path
    threads: int

    @property
    def precision(self) -> str:
        """`int8` of `onnxruntime-int8`."""
        return self.side.rpartition("-")[2]


class Engine(Protocol):
    """What a module of this folder opens: `open(order) -> Engine`."""

    def facts(self) -> Message:
        """Versions of its libraries and how it was set up, for the records."""

    def answer(self, request: Message, /) -> Message:
        """One answer to one request, with its times in nanoseconds."""
