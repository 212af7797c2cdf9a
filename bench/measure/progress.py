"""Progress: what, how far, and how long yet for the whole run, by what boots took until now.

What the run still has to measure, its controller wrote down when it began; what a boot takes stands
in the records that lie there, of this run or of one before. None of it decides anything.
"""

from __future__ import annotations

import json
import sys
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from itertools import chain
from pathlib import Path
from statistics import fmean

from bench.measure.job import Job

WAITING = Path(".snakemake/confbench.waiting.json")  # written in rules/controller.smk
Kind = tuple[str, int]  # model and tier: what decides how long a boot takes


@dataclass(frozen=True, slots=True)
class Waiting:
    """One measuring job of a run, as its controller wrote it down."""

    records: str
    model: str
    tier: int
    boots: int


@dataclass(slots=True)
class Progress:
    """`boots` of one job, and `later` those of jobs after it; `seconds` that boots took so far."""

    head: str
    kind: Kind
    boots: int
    later: Sequence[Waiting]
    seconds: dict[Kind, list[float]]
    clock: Callable[[], float]
    began: float
    done: int = 0

    def end_boot(self) -> None:
        """One of them is done."""
        now = self.clock()
        self.seconds.setdefault(self.kind, []).append(now - self.began)
        self.done, self.began = self.done + 1, now

    def say(self, what: str) -> None:
        """One line to the terminal."""
        self.note(f"boot {self.done + 1}/{self.boots}: {what}{self.left()}")

    def note(self, what: str) -> None:
        """One line to the terminal that tells no time."""
        print(f"{self.head}, {what}", file=sys.stderr, flush=True)

    def left(self) -> str:
        """How long the rest of the run takes, or nothing before any boot has been timed.

        A kind that was not timed yet counts as the mean of all that were.
        """
        if not any(self.seconds.values()):
            return ""
        mean = fmean(chain.from_iterable(self.seconds.values()))
        each = {kind: fmean(took) for kind, took in self.seconds.items() if took}
        own = (self.boots - self.done) * each.get(self.kind, mean)
        passed = min(self.clock() - self.began, each.get(self.kind, mean))
        later = sum(job.boots * each.get((job.model, job.tier), mean) for job in self.later)
        return f", about {(own - passed + later) / 60:.1f} min left"


def read(job: Job, boots: int, root: Path = Path()) -> Progress:
    """Of a job that starts so many boots, in the run whose controller works in `root`.

    Jobs whose records are younger than what the controller wrote are done.
    """
    head = f"measure tier {job.tier} of {job.model} on {job.instance}"
    head += f", repetition {job.repetition}/{job.repetitions}"
    later = [waiting for waiting in _waiting(root) if waiting.records != str(job.records)]
    seconds = timed(root / "results" / "records")
    return Progress(
        head, (job.model, job.tier), boots, later, seconds, time.monotonic, time.monotonic()
    )


def _waiting(root: Path) -> list[Waiting]:
    written = root / WAITING
    if not written.is_file():
        return []
    began = written.stat().st_mtime
    rows = [Waiting(**row) for row in json.loads(written.read_text())]
    return [waiting for waiting in rows if not _since(root / waiting.records, began)]


def timed(folder: Path) -> dict[Kind, list[float]]:
    """Seconds that boots took, by the contexts of records below a folder, as far as they say it."""
    seconds: dict[Kind, list[float]] = {}
    for path in sorted(folder.rglob("tier*.jsonl")):
        with path.open() as file:
            context = json.loads(file.readline() or "{}").get("context", {})
        took = [boot["seconds"] for boot in context.get("per_boot", ()) if "seconds" in boot]
        seconds.setdefault((context.get("model"), context.get("tier")), []).extend(took)
    return seconds


def _since(path: Path, began: float) -> bool:
    return path.is_file() and path.stat().st_mtime >= began
