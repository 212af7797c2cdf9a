"""How long a run takes yet, by a clock that is set by hand."""

from __future__ import annotations

import json
import os
from dataclasses import dataclass, replace
from pathlib import Path

import pytest

from bench.measure import progress
from bench.measure.job import Job
from bench.measure.progress import WAITING, Kind, Progress, Waiting
from bench.probes import Workload


@dataclass
class Clock:
    now: float = 100.0

    def __call__(self) -> float:
        return self.now


def told(seconds: dict[Kind, list[float]], *later: Waiting) -> tuple[Progress, Clock]:
    clock = Clock()
    return Progress("measure", ("minilm", 1), 3, later, seconds, clock, clock.now), clock


def test_nothing_is_said_before_a_boot_was_timed() -> None:
    found, _ = told({})
    assert found.left() == ""


def test_this_job_and_those_after_it_are_added_up() -> None:
    found, clock = told(
        {("minilm", 1): [40.0, 20.0], ("minilm", 4): [90.0]},
        Waiting("a", "minilm", 1, 2),
        Waiting("b", "minilm", 4, 1),
        Waiting("c", "distilbert", 1, 1),  # never timed: the mean of all boots, 50 s
    )
    assert found.left() == f", about {(3 * 30 + 2 * 30 + 90 + 50) / 60:.1f} min left"
    clock.now += 12
    assert found.left() == f", about {(3 * 30 - 12 + 2 * 30 + 90 + 50) / 60:.1f} min left"


def test_a_boot_that_ends_is_timed_and_no_longer_waited_for(
    capsys: pytest.CaptureFixture[str],
) -> None:
    found, clock = told({})
    clock.now += 30
    found.end_boot()
    found.say("start of plain")
    said = "measure, boot 2/3: start of plain, about 1.0 min left\n"
    assert capsys.readouterr().err == said


def test_a_boot_that_takes_longer_than_others_counts_as_nearly_done() -> None:
    found, clock = told({("minilm", 1): [10.0]})
    clock.now += 1000
    assert found.left() == f", about {20 / 60:.1f} min left"


def test_jobs_of_this_run_whose_records_are_there_are_not_waited_for(tmp_path: Path) -> None:
    folder = tmp_path / "results" / "records"
    folder.mkdir(parents=True)
    names = {name: f"results/records/tier{number}.jsonl" for number, name in enumerate("abc")}
    context = {"context": {"model": "minilm", "tier": 1, "per_boot": [{"seconds": 7.5}]}}
    for name in "ab":
        (tmp_path / names[name]).write_text(json.dumps(context) + "\n")
    rows = [
        {"records": path, "model": "minilm", "tier": 1, "boots": 2}
        for path in (*names.values(), "results/records/tier3.jsonl")
    ]
    written = tmp_path / WAITING
    written.parent.mkdir()
    written.write_text(json.dumps(rows))
    for path, written_at in ((names["a"], 1), (WAITING, 2), (names["b"], 3)):
        os.utime(tmp_path / path, (written_at, written_at))
    place = Path(names["c"])
    job = Job(1, "laptop", "minilm", 2, 3, 2, 1, "", [], Workload(), place, place)
    found = progress.read(job, 2, tmp_path)
    assert [waiting.records for waiting in found.later] == [names["a"], rows[3]["records"]]
    assert found.seconds == {("minilm", 1): [7.5, 7.5]}
    assert (
        replace(found, clock=lambda: found.began).left() == f", about {6 * 7.5 / 60:.1f} min left"
    )


def test_without_a_controller_nothing_else_is_waited_for(tmp_path: Path) -> None:
    job = Job(1, "laptop", "minilm", 1, 1, 1, 1, "", [], Workload(), Path("r"), Path("e"))
    assert list(progress.read(job, 1, tmp_path).later) == []
