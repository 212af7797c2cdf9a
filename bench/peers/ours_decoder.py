"""Our decoder: the code that runs inside the enclave, with nothing around it."""

from __future__ import annotations

from bench.peers import Order
from bench.peers.decoders import Decoder
from bench.peers.ours import load
from enclave.models import llama


def open(order: Order) -> Decoder:  # noqa: A001
    """The model of `source`, which has to be a Llama."""
    model, source = load(order)
    if not isinstance(model, llama.Model):
        raise TypeError(f"found a model of {source['architecture']}, expected a llama")
    return Decoder(
        libraries=("torch",),
        threads=order.threads,
        vocabulary=model.config.vocab_size,
        generate=lambda ids, count: model.generate(
            ids, max_new_tokens=count, temperature=0, seed=0
        ),
        logits=lambda ids: model.logits(ids)[-1],
        settings={"packed": model.packed, "precision": model.config.precision},
    )
