"""llama.cpp through llama-cpp-python, on a GGUF file that holds the very values of our weights."""

from __future__ import annotations

from collections.abc import Iterator

import llama_cpp
import numpy as np
from numpy.typing import NDArray

from bench.peers import Order
from bench.peers.decoders import Decoder

CONTEXT = 512  # tokens, prompt and answer together


def open(order: Order) -> Decoder:  # noqa: A001
    """Weights are read, not mapped, so that they can be repacked for this CPU and dropped."""
    engine = llama_cpp.Llama(
        str(order.formats / "model.gguf"),
        n_ctx=CONTEXT,
        n_threads=order.threads,
        n_threads_batch=order.threads,
        use_mmap=False,
        verbose=False,
    )

    def logits(ids: list[int]) -> NDArray[np.float32]:
        engine.reset()
        engine.eval(ids)
        return _logits(engine)

    def generate(ids: list[int], count: int) -> Iterator[int]:
        engine.reset()
        for _ in range(count):
            engine.eval(ids)
            ids = [int(_logits(engine).argmax())]
            yield ids[0]

    return Decoder(
        libraries=("llama-cpp-python", "numpy"),
        threads=order.threads,
        vocabulary=engine.n_vocab(),
        generate=generate,
        logits=logits,
        settings={"use_mmap": False, "system": llama_cpp.llama_print_system_info().decode()},
    )


def _logits(engine: llama_cpp.Llama) -> NDArray[np.float32]:
    """Of the last token: (V,) in the engine's own memory, until it is asked again."""
    found = llama_cpp.llama_get_logits_ith(engine.ctx, -1)
    return np.ctypeslib.as_array(found, shape=(engine.n_vocab(),))
