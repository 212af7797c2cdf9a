"""Engines of our own environment, on a tiny model; the peers' own, where they are installed."""

from __future__ import annotations

import json
import math
from pathlib import Path

import numpy as np
import pytest

from bench.peers import Order, convert, encoders, loader, ours, pipe, roofline
from bench.peers.pipe import Seat, Worker
from bench.weights import origin
from enclave.wire.errors import VerificationError
from tests.peers.places import FIRST_CPU, ROOT
from tests.weights import samples

PEERS = ROOT / ".venv-peers" / "bin" / "python"
TEXTS = ["a b a", "b"]


@pytest.fixture(scope="module")
def source(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("source")
    origin.fetch(samples.seeded_row(), folder)
    return folder


def test_ours_answers_with_times_and_embeddings(source: Path) -> None:
    engine = ours.open(Order("ours-fp32", source, source, threads=1))
    answer = engine.answer({"texts": TEXTS})
    found = encoders.embeddings(answer)
    assert found.shape == (2, samples.DIMENSIONS["hidden_size"])
    assert np.linalg.norm(found, axis=1) == pytest.approx([1, 1], abs=1e-5)
    assert all(answer[name] > 0 for name in ("first_ns", "forward_ns", "text_ns"))
    facts = engine.facts()
    assert facts["threads"] == 1
    assert json.loads(json.dumps(facts)) == facts


@pytest.mark.parametrize("precision", ["fp32", "int8"])
def test_the_machines_limits_are_measured(source: Path, precision: str) -> None:
    engine = roofline.open(Order(f"roofline-{precision}", source, source, threads=1))
    answer = engine.answer({})
    assert all(1e8 < value < 1e16 for value in answer.values())
    assert engine.facts()["dimensions"]["hidden_size"] == samples.DIMENSIONS["hidden_size"]


def test_sealed_weights_that_were_changed_are_not_loaded(tmp_path: Path) -> None:
    engine = loader.Loader("sealed", tmp_path)
    assert engine.answer({"megabytes": 2})["bytes"] == 2_000_000
    path = tmp_path / "2000000"
    data = bytearray(path.read_bytes())
    data[1_500_000] ^= 1
    path.write_bytes(data)
    with pytest.raises(VerificationError, match="chunk authentication"):
        engine.answer({"megabytes": 2})


@pytest.mark.real
@pytest.mark.skipif(not PEERS.exists(), reason="no .venv-peers: `make bench` sets it up")
def test_every_peer_computes_the_same_embedding(source: Path, tmp_path: Path) -> None:
    with (tmp_path / "log").open("w") as log:
        convert.run(PEERS, source=source, folder=tmp_path / "formats", seed=1, log=log)
    expected = encoders.embeddings(
        ours.open(Order("ours-fp32", source, source, 1)).answer({"texts": TEXTS})
    )
    order = {"source": str(source), "formats": str(tmp_path / "formats")}
    seat = Seat(FIRST_CPU, ROOT, tmp_path)
    for side in ("onnxruntime-fp32", "openvino-fp32", "sentence-transformers-fp32"):
        with Worker(side, PEERS, side.rpartition("-")[0], order, seat) as worker:
            assert worker.ready()["threads"] == 1
            found = encoders.embeddings(worker.ask(texts=TEXTS))
        assert found == pytest.approx(expected, abs=1e-5), side
    assert not math.isnan(float(expected.sum()))


def test_the_worker_knows_every_engine_that_a_side_can_name() -> None:
    from bench.peers.worker import ENGINES

    for module in ENGINES.values():
        assert ROOT.joinpath(*module.split(".")).with_suffix(".py").is_file()
    assert pipe.STOP_SECONDS > 0
