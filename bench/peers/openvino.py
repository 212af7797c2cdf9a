"""OpenVINO on the CPU: float32 computed as float32, or the graph that nncf quantised."""

from __future__ import annotations

from typing import Any

import openvino

from bench.peers import Order
from bench.peers.encoders import Encoder, Ids, tokenizer, tokens

GRAPHS = {"fp32": "model.onnx", "int8": "openvino.int8.xml"}


def open(order: Order) -> Encoder:  # noqa: A001
    """One stream for the least latency."""
    settings = {
        "PERFORMANCE_HINT": "LATENCY",
        "INFERENCE_NUM_THREADS": order.threads,
        "INFERENCE_PRECISION_HINT": "f32",  # else bfloat16 where the CPU has it
    }
    core = openvino.Core()
    graph = core.read_model(order.formats / GRAPHS[order.precision])
    request = core.compile_model(graph, "CPU", settings).create_infer_request()
    texts = tokenizer(order.source)

    def forward(given: tuple[Ids, Ids]) -> Any:
        request.infer({"input_ids": given[0], "attention_mask": given[1]}, share_inputs=True)
        return request.get_output_tensor(0).data

    return Encoder(
        libraries=("openvino", "nncf", "tokenizers", "numpy"),
        threads=order.threads,
        prepare=lambda given: tokens(texts, given),
        forward=forward,
        settings={"graph": GRAPHS[order.precision], **settings},
    )
