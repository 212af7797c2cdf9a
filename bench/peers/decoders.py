"""What engines that generate have in common: how they are asked, and what is timed.

Prefill is from the prompt's ids to the first new one, decode from there to the last; both greedy,
both without tokenising. Stop ids are of no account: every engine makes as many tokens as asked.
"""

from __future__ import annotations

import base64
import os
import platform
import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from typing import Any

import numpy as np
from numpy.typing import NDArray

from bench.peers import Message


@dataclass(frozen=True, slots=True)
class Decoder:
    """An engine of two functions.

    generate: prompt ids and how many new ones, to those one by one. logits: ids to the (V,) float32
    that decide the next one.
    """

    libraries: Sequence[str]
    threads: int
    vocabulary: int
    generate: Callable[[list[int], int], Iterator[int]]
    logits: Callable[[list[int]], Any]
    settings: Message = field(default_factory=dict)

    def facts(self) -> Message:
        """Versions, CPUs, threads, settings."""
        return {
            "libraries": {name: metadata.version(name) for name in self.libraries},
            "python": platform.python_version(),
            "cpus": sorted(os.sched_getaffinity(0)),
            "threads": self.threads,
            "vocabulary": self.vocabulary,
            "settings": dict(self.settings),
        }

    def answer(self, request: Message) -> Message:
        """`{prompt, new}` to `{prefill_ns, decode_ns, ids}`; without `new` to `{logits}`."""
        prompt = list(request["prompt"])
        if "new" not in request:
            rows = np.ascontiguousarray(self.logits(prompt), dtype=np.float32)  # (V,)
            return {"logits": base64.b64encode(rows.tobytes()).decode()}
        start = time.perf_counter_ns()
        tokens = self.generate(prompt, request["new"])
        ids = [next(tokens)]
        first = time.perf_counter_ns()
        ids += tokens
        return {
            "prefill_ns": first - start,
            "decode_ns": time.perf_counter_ns() - first,
            "ids": ids,
        }


def logits(answer: Message) -> NDArray[np.float32]:
    """(V,) as an engine gave them."""
    return np.frombuffer(base64.b64decode(answer["logits"]), dtype=np.float32)
