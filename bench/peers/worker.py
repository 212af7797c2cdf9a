"""An engine's process: `python -m bench.peers.worker ORDER`, where ORDER is a JSON map.

The CPUs are set before anything that starts threads is imported.
"""

from __future__ import annotations

import importlib
import json
import os
import sys
from pathlib import Path

from bench.peers import Order, pipe

ENGINES = {
    "ours": "bench.peers.ours",
    "onnxruntime": "bench.peers.onnxruntime",
    "openvino": "bench.peers.openvino",
    "sentence-transformers": "bench.peers.sentence_transformers",
    "ours-decoder": "bench.peers.ours_decoder",
    "llama-cpp": "bench.peers.llama_cpp",
    "roofline": "bench.peers.roofline",
    "loader": "bench.peers.loader",
    "echo": "bench.peers.echo",
}


def main() -> None:
    """Load, announce, answer until the driver is gone."""
    given = json.loads(sys.argv[1])
    os.sched_setaffinity(0, given["cpus"])
    answers = pipe.own_output()
    source, formats = Path(given["source"]), Path(given["formats"])
    order = Order(given["side"], source, formats, threads=len(given["cpus"]))
    engine = importlib.import_module(ENGINES[given["engine"]]).open(order)
    pipe.serve(engine, sys.stdin.buffer, answers)


if __name__ == "__main__":
    main()
