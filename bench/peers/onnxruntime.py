"""ONNX Runtime on the CPU."""

from __future__ import annotations

from typing import Any

import onnxruntime

from bench.peers import Order
from bench.peers.encoders import Encoder, Ids, tokenizer, tokens

GRAPHS = {"fp32": "model.onnx", "int8": "model.int8.onnx"}


def open(order: Order) -> Encoder:  # noqa: A001
    """A session that stops spinning when it has answered: others have their turn then."""
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = order.threads
    options.graph_optimization_level = onnxruntime.GraphOptimizationLevel.ORT_ENABLE_ALL
    options.add_session_config_entry("session.force_spinning_stop", "1")
    graph = str(order.formats / GRAPHS[order.precision])
    session = onnxruntime.InferenceSession(graph, options, providers=["CPUExecutionProvider"])
    texts = tokenizer(order.source)

    def forward(given: tuple[Ids, Ids]) -> Any:
        return session.run(None, {"input_ids": given[0], "attention_mask": given[1]})[0]

    return Encoder(
        libraries=("onnxruntime", "tokenizers", "numpy"),
        threads=order.threads,
        prepare=lambda given: tokens(texts, given),
        forward=forward,
        settings={"graph": GRAPHS[order.precision], "optimisation": "ORT_ENABLE_ALL"},
    )
