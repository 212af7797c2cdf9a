"""sentence-transformers: what most people run. It takes text, so both ways are timed."""

from __future__ import annotations

from typing import Any

import torch
from sentence_transformers import SentenceTransformer
from sentence_transformers.sentence_transformer.modules import Normalize, Pooling, Transformer

from bench.peers import Order
from bench.peers.encoders import Encoder


def open(order: Order) -> Encoder:  # noqa: A001
    """The published recipe: transformer, mean over tokens, length 1."""
    torch.set_num_threads(order.threads)
    words = Transformer(str(order.formats / "transformers"))
    pooling = Pooling(words.get_embedding_dimension(), pooling_mode="mean")
    model = SentenceTransformer(modules=[words, pooling, Normalize()], device="cpu")
    model.eval()

    def forward(given: Any) -> Any:
        with torch.inference_mode():
            return model(dict(given))["sentence_embedding"]

    return Encoder(
        libraries=("sentence-transformers", "transformers", "torch", "tokenizers"),
        threads=torch.get_num_threads(),
        prepare=model.preprocess,
        forward=forward,
        encode=lambda texts: model.encode(texts, show_progress_bar=False),
        settings={"attention": words.auto_model.config._attn_implementation},
    )
