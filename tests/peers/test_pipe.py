"""The pipe: an engine's process, what it answers, and what is said when it cannot."""

from __future__ import annotations

import io
import json
from pathlib import Path

import pytest

from bench.peers import Message, measure, pipe
from bench.peers.pipe import Seat, Worker, WorkerError
from tests.peers.places import FIRST_CPU, ROOT, echo_worker


def test_a_worker_sits_where_it_is_told_and_ends_with_its_driver(tmp_path: Path) -> None:
    with echo_worker("bare", tmp_path) as worker:
        facts = worker.ready()
        assert facts["cpus"] == FIRST_CPU
        assert Path(facts["path"]).is_socket()
    assert not Path(facts["path"]).exists()


def test_an_engine_that_cannot_be_loaded_is_named_with_its_log(tmp_path: Path) -> None:
    seat = Seat(FIRST_CPU, ROOT, tmp_path)
    order = {"source": str(tmp_path), "formats": str(tmp_path)}
    with (
        Worker("ours-fp32", Path(measure.sys.executable), "ours", order, seat) as worker,
        pytest.raises(WorkerError, match=r"source\.json") as caught,
    ):
        worker.ready()
    assert f"hint: all of it is in {tmp_path}" in str(caught.value)


class Failing:
    """An engine that answers nothing."""

    def facts(self) -> Message:
        return {}

    def answer(self, request: Message, /) -> Message:
        raise ValueError(f"no {request['text']}")


def test_what_an_engine_raises_reaches_the_driver_before_it_ends() -> None:
    answers = io.BytesIO()
    with pytest.raises(ValueError, match="no tea"):
        pipe.serve(Failing(), io.BytesIO(b'{"text":"tea"}\n'), answers)
    assert [json.loads(line) for line in answers.getvalue().splitlines()] == [
        {},
        {"failed": "ValueError: no tea"},
    ]


def test_every_engine_gets_as_many_threads_as_cpus(tmp_path: Path) -> None:
    told = Seat([0, 1, 2], ROOT, tmp_path).environment()
    assert (told["OMP_NUM_THREADS"], told["MKL_NUM_THREADS"]) == ("3", "3")
