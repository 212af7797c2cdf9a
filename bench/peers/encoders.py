"""What engines that embed texts have in common: how they are asked, and what is timed.

`forward` is token ids to embedding, the same for every engine; `text` is text to embedding, for
those that take text. Every question is asked twice in a row: the first answer finds caches as the
other engines left them, the second as its own predecessor did.
"""

from __future__ import annotations

import base64
import os
import platform
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from importlib import metadata
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray
from tokenizers import Tokenizer

from bench.peers import Message

Ids = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Encoder:
    """An engine of three functions.

    prepare: texts to what `forward` takes, outside of any timing. forward: that to (B, H) float32.
    encode: texts to (B, H), tokenising included, or None where the engine takes no text.
    """

    libraries: Sequence[str]
    threads: int
    prepare: Callable[[list[str]], Any]
    forward: Callable[[Any], Any]
    encode: Callable[[list[str]], Any] | None = None
    settings: Message = field(default_factory=dict)

    def facts(self) -> Message:
        """Versions, CPUs, threads, settings."""
        return {
            "libraries": {name: metadata.version(name) for name in self.libraries},
            "python": platform.python_version(),
            "cpus": sorted(os.sched_getaffinity(0)),
            "threads": self.threads,
            "settings": dict(self.settings),
        }

    def answer(self, request: Message) -> Message:
        """`{texts}` to `{first_ns, forward_ns, [text_ns], tokens, shape, embedding}`."""
        texts = list(request["texts"])
        prepared = self.prepare(texts)
        first_ns, _ = _timed(self.forward, prepared)
        forward_ns, found = _timed(self.forward, prepared)
        rows = np.ascontiguousarray(found, dtype=np.float32)  # (B, H)
        answer = {"first_ns": first_ns, "forward_ns": forward_ns, "shape": list(rows.shape)}
        answer["embedding"] = base64.b64encode(rows.tobytes()).decode()
        if self.encode is not None:
            answer["text_ns"], _ = _timed(self.encode, texts)
        return answer


def embeddings(answer: Message) -> NDArray[np.float32]:
    """(B, H) as an engine gave them."""
    data = np.frombuffer(base64.b64decode(answer["embedding"]), dtype=np.float32)
    return data.reshape(answer["shape"])


def tokens(tokenizer: Tokenizer, texts: list[str]) -> tuple[Ids, Ids]:
    """Ids and mask, (B, L) int64 each, for engines that take no text."""
    found = tokenizer.encode_batch(texts)
    ids = np.array([encoding.ids for encoding in found], dtype=np.int64)
    return ids, np.array([encoding.attention_mask for encoding in found], dtype=np.int64)


def tokenizer(source: Path) -> Tokenizer:
    """A model's tokenizer, padding to a batch's longest and no further."""
    found = Tokenizer.from_file(str(source / "tokenizer.json"))
    found.no_truncation()
    found.enable_padding(pad_id=found.token_to_id("[PAD]"), pad_token="[PAD]")
    return found


def _timed(call: Callable[[Any], Any], given: Any) -> tuple[int, Any]:
    start = time.perf_counter_ns()
    found = call(given)
    return time.perf_counter_ns() - start, found
