"""A loaded model that turns texts into an Output, one request at a time."""

from __future__ import annotations

import ctypes
import os
import platform
import threading
from collections.abc import Callable, Mapping

import torch

from enclave.memory import Buffer
from enclave.models import Architecture, Model, minilm
from enclave.models.tokenizer import Tokenizer
from enclave.wire.errors import VerificationError
from enclave.wire.messages import Output

ARCHITECTURES: dict[str, Architecture] = {"bert": minilm}


class Engine:
    """A model, its tokenizer, and the lock that keeps requests from sharing the cores."""

    def __init__(self, model: Model, tokenizer: Tokenizer, weights_bytes: int) -> None:
        self._model = model
        self._tokenizer = tokenizer
        self._weights_bytes = weights_bytes
        self._lock = threading.Lock()

    def run(self, texts: tuple[str, ...], mark: Callable[[str], None] = lambda _: None) -> Output:
        """Embed texts; `mark` hears when tokens were ready and when the forward pass was done."""
        ids, mask = self._tokenizer.encode(list(texts))  # (B, L) each
        mark("tokenized")
        with self._lock:
            mark("waited")
            embedding = self._model.embed(ids, mask)  # (B, H) float32, contiguous
        mark("inferred")
        values = ctypes.string_at(embedding.data_ptr(), embedding.nbytes)
        return Output(tuple(embedding.shape), values)

    def parity(self) -> dict[str, str | int | bool]:
        """What has to be alike wherever two servers are compared."""
        return {
            "cpus": ",".join(map(str, sorted(os.sched_getaffinity(0)))),
            "packed_linears": self._model.packed,
            "python": platform.python_version(),
            "threads": torch.get_num_threads(),
            "torch": str(torch.__version__),
            "weights_bytes": self._weights_bytes,
        }


def load(
    architecture: str,
    config: Mapping[str, object],
    weights: Buffer,
    tokenizer: bytes,
    *,
    threads: int,
) -> Engine:
    """`weights` holds a safetensors file; the engine keeps it, and gives back what it repacks."""
    torch.set_num_threads(threads)
    module = ARCHITECTURES.get(architecture)
    if module is None:
        raise VerificationError("architecture", found=architecture, expected=list(ARCHITECTURES))
    model = module.load(weights.view, config, release=weights.release)
    texts = Tokenizer(tokenizer, max_tokens=model.max_tokens)
    return Engine(model, texts, len(weights.view))
