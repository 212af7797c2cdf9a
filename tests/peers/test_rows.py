"""Rows: both sides in one run, mirrored, every value kept and warm-ups marked."""

from __future__ import annotations

import base64
from collections import Counter
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path

import numpy as np
import pytest

from bench.peers import Message
from bench.peers.rows import Asked, decoder, encoder, load, transport
from tests.peers.places import stand, worker

AT = (("tokens", 8),)
SIDES = ("ours-fp32", "onnxruntime-fp32", "onnxruntime-int8", "roofline-fp32")


class Recorded:
    """An engine whose answers were recorded; it writes down when it is asked."""

    def __init__(self, name: str, diary: list[str], embedding: Sequence[float] = (1, 0)) -> None:
        self.name, self.diary, self.embedding = name, diary, embedding

    def ask(self, **request: object) -> Message:
        self.diary.append(self.name)
        if self.name.startswith("roofline"):
            return {"operations_per_s": 2e11, "bytes_per_s": 2e10}
        rows = np.array([self.embedding], dtype=np.float32)
        embedding = base64.b64encode(rows.tobytes()).decode()
        return {
            "first_ns": 3_000_000,
            "forward_ns": 2_000_000,
            "shape": [1, 2],
            "embedding": embedding,
        }


def engines(diary: list[str], **embeddings: Sequence[float]) -> dict[str, Recorded]:
    return {
        side: Recorded(side, diary, embeddings.get(side.replace("-", "_"), (1, 0)))
        for side in SIDES
    }


def test_engines_take_turns_in_mirrored_blocks(tmp_path: Path) -> None:
    diary: list[str] = []
    asked = [Asked("forward", AT, SIDES[:2]), Asked("forward", AT, SIDES[2:])]
    found = list(encoder.run(stand(asked, engines(diary), tmp_path)))
    blocks = [diary[start : start + 8] for start in range(0, len(diary), 8)]
    assert len(blocks) == 3
    assert all(sorted(block[:4]) == sorted(SIDES) for block in blocks)
    assert all(block == block[::-1] for block in blocks)
    forward = [row for row in found if row.metric == "forward" and row.side == "ours-fp32"]
    assert [(row.block, row.iteration, row.warmup) for row in forward] == [
        (-1, 0, True), (-1, 1, True), (0, 2, False), (0, 3, False), (1, 4, False), (1, 5, False),
    ]  # fmt: skip
    assert {(row.metric, row.value) for row in found if row.side == "ours-fp32"} == {
        ("forward", 2.0),
        ("forward_after_others", 3.0),
    }
    assert {(row.metric, row.value) for row in found if row.side == "roofline-fp32"} == {
        ("operations_rate", 200.0),
        ("read_rate", 20.0),
    }


def test_an_engine_that_is_not_there_is_left_out(tmp_path: Path) -> None:
    asked = [Asked("forward", AT, ("ours-int8", "onnxruntime-int8"))]
    found = encoder.run(stand(asked, engines([]), tmp_path))
    assert {row.side for row in found} == {"onnxruntime-int8"}


def test_cosines_are_to_our_own_float32(tmp_path: Path) -> None:
    asked = [Asked("forward", AT, SIDES)]
    found = encoder.run(stand(asked, engines([], onnxruntime_int8=(0.6, 0.8)), tmp_path))
    cosines = {row.side: row.value for row in found if row.metric == "cosine"}
    assert cosines == {
        "onnxruntime-fp32": pytest.approx(1),
        "onnxruntime-int8": pytest.approx(0.6),
    }


def test_a_float32_engine_that_computes_something_else_is_refused(tmp_path: Path) -> None:
    asked = [Asked("forward", AT, SIDES)]
    run = encoder.run(stand(asked, engines([], onnxruntime_fp32=(0.6, 0.8)), tmp_path))
    with pytest.raises(ValueError, match=r"onnxruntime-fp32: found cosine 0\.60000"):
        list(run)


def test_both_echoes_give_back_what_they_got(tmp_path: Path) -> None:
    at = (("payload_bytes", 100_000), ("cpus", 1))
    with ExitStack() as stack:
        sides = ("framed", "bare")
        workers = {side: stack.enter_context(worker(side, "echo", tmp_path)) for side in sides}
        for one in workers.values():
            one.ready()
        asked = [Asked("round_trip", at, sides)]
        found = list(transport.run(stand(asked, workers, tmp_path, blocks=1)))
    assert Counter(row.side for row in found) == {"framed": 80, "bare": 80}
    assert all(row.value > 0 for row in found)


def test_sealed_and_plain_weights_are_loaded_side_by_side(tmp_path: Path) -> None:
    sides, at = ("sealed", "sealed_blake3", "plaintext"), (("megabytes", 3),)
    with ExitStack() as stack:
        workers = {side: stack.enter_context(worker(side, "loader", tmp_path)) for side in sides}
        for one in workers.values():
            one.ready()
        assert workers["sealed"].ask(megabytes=3)["bytes"] == 3_000_000
        found = list(load.run(stand([Asked("load", at, sides)], workers, tmp_path, blocks=1)))
    assert Counter(row.side for row in found) == dict.fromkeys(sides, 4)
    assert [row.iteration for row in found if row.side == "sealed"] == [0, 1, 2, 3]


class Speaker:
    """A decoder whose answers were recorded."""

    facts: Message = {"vocabulary": 5}

    def __init__(self, logits: Sequence[float]) -> None:
        self.logits = np.array(logits, dtype=np.float32)

    def ask(self, **request: object) -> Message:
        if "new" not in request:
            return {"logits": base64.b64encode(self.logits.tobytes()).decode()}
        return {"prefill_ns": 2_000_000_000, "decode_ns": 500_000_000}


def test_generation_is_told_in_tokens_per_second(tmp_path: Path) -> None:
    sides, at = ("ours-q4", "llama-cpp-q4"), (("prompt", 64), ("new", 11))
    speakers = {side: Speaker((1, 2)) for side in sides}
    asked = [Asked(metric, at, sides) for metric in ("prefill", "decode")]
    found = list(decoder.run(stand(asked, speakers, tmp_path)))
    assert {(row.metric, row.value) for row in found} == {("prefill", 32.0), ("decode", 20.0)}
    assert len(found) == 2 * 2 * 2 * 3


def test_decoders_of_different_models_are_not_compared(tmp_path: Path) -> None:
    speakers = {"ours-q4": Speaker((1, 2)), "llama-cpp-q4": Speaker((2, 1))}
    asked = [Asked("decode", (("prompt", 4), ("new", 2)), tuple(speakers))]
    with pytest.raises(ValueError, match=r"found cosine 0\.8000 to ours-q4"):
        list(decoder.run(stand(asked, speakers, tmp_path)))
