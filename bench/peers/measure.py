"""Measure one family of rows for one model: every engine in a process of its own, start by start.

Records are written as all others are (`bench.records`); a `boot` is one start of every engine.
"""

from __future__ import annotations

import importlib
import os
import random
import sys
import time
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass
from datetime import UTC, datetime
from functools import partial
from pathlib import Path

from bench import context, records
from bench.peers import Message
from bench.peers.pipe import Seat, Worker
from bench.peers.rows import Asked, Stand
from bench.probes import inputs
from bench.records import Observation

REPOSITORY = Path(__file__).parents[2]
ROWS = {
    "encoder": "bench.peers.rows.encoder",
    "decoder": "bench.peers.rows.decoder",
    "load": "bench.peers.rows.load",
    "start": "bench.peers.rows.start",
    "transport": "bench.peers.rows.transport",
    "saturation": "bench.peers.rows.saturation",
}
OWN = ("ours", "ours-decoder", "roofline", "loader", "echo")  # others run in their environment

# Longer than the threads of any engine spin for work before they sleep.
PAUSE_S = 0.005


@dataclass(frozen=True, slots=True)
class Job:
    """What to measure; `asked` comes from `bench.goals.measured`, `cpus` is how many all get."""

    probe: str
    instance: str
    model: str
    repetition: int
    boots: int
    blocks: int
    warmup: int
    seed: int
    cpus: int
    asked: Sequence[Mapping[str, str]]


@dataclass(frozen=True, slots=True)
class Places:
    """Where things are. `sources` says by side on which weights it runs: a side that it lacks is
    left out of the run, with what would have been compared to it."""

    sources: Mapping[str, Path]
    formats: Path
    python: Path
    records: Path
    logs: Path


def run(job: Job, places: Places) -> None:
    """Measure every boot, then write one records file."""
    plan = {**asdict(job), **context.machine(), **context.revision(REPOSITORY)}
    seat = Seat(_cpus(job.cpus), REPOSITORY, places.logs.absolute())
    lines: list[str] = []
    facts: list[Message] = []
    for boot in range(job.boots):
        observations, told = _boot(job, boot, places, seat)
        lines += [records.encode(observation) for observation in observations]
        facts.append(told)
    records.write(places.records, {**plan, "per_boot": facts}, lines)


def _boot(
    job: Job, boot: int, places: Places, seat: Seat
) -> tuple[list[Observation], Mapping[str, object]]:
    """One start of every engine: all that was observed, and what the engines say of themselves."""
    rows = importlib.import_module(ROWS[job.probe])
    chance = random.Random(f"{job.seed} {job.repetition} {boot}")
    asked = [_asked(row) for row in job.asked]
    sides = [side for row in asked for side in row.sides if side in places.sources]
    tokenizer = inputs.tokenizer(next(iter(places.sources.values())) / "tokenizer.json")
    say = partial(_say, job, boot)
    before, started = context.noise(), datetime.now(UTC)
    with ExitStack() as stack:
        workers: dict[str, Worker] = {}
        told: dict[str, Message] = {}
        for side in chance.sample(sorted(set(sides)), len(set(sides))):
            if engine := rows.engine(side):
                say(f"start of {side}")
                workers[side] = stack.enter_context(_worker(side, engine, places, seat))
                told[side] = workers[side].ready()
        stand = Stand(
            boot=boot,
            blocks=job.blocks,
            warmup=job.warmup,
            asked=asked,
            workers=workers,
            seat=seat,
            source=places.sources[sides[0]],
            text=lambda tokens: inputs.exactly(tokenizer, tokens, chance),
            random=chance,
            pause=partial(time.sleep, PAUSE_S),
            progress=say,
        )
        observations = list(rows.run(stand))
    after = context.noise()
    noise = {name: round(after[name] - before[name], 2) for name in ("busy_s", "steal_s")}
    at = started.isoformat(timespec="seconds")
    facts = {"boot": boot, "started": at, "noise": noise, "load_1min": before["load_1min"]}
    return observations, {**facts, "engines": told}


def _asked(row: Mapping[str, str]) -> Asked:
    parts = [part.partition("=") for part in row["at"].split(";") if part]
    at = tuple((axis, int(value)) for axis, _, value in parts)
    return Asked(row["metric"], at, tuple(row["sides"].split()))


def _worker(side: str, engine: str, places: Places, seat: Seat) -> Worker:
    python = Path(sys.executable) if engine in OWN else places.python
    folders = {"source": places.sources[side], "formats": places.formats}
    order = {name: str(path.absolute()) for name, path in folders.items()}
    return Worker(side, python.absolute(), engine, order, seat)


def _cpus(count: int) -> list[int]:
    """The first so many that this process may use."""
    return sorted(os.sched_getaffinity(0))[:count]


def _say(job: Job, boot: int, what: str) -> None:
    done = f"repetition {job.repetition}, boot {boot + 1}/{job.boots}"
    print(f"bench {job.probe} {job.model}: {done}: {what}", file=sys.stderr, flush=True)
