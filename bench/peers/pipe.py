"""The pipe between a measurement and an engine's process: JSON lines, a question and its answer.

Both ends stand here. The worker's end keeps standard output to itself: what a library prints goes
to the log. A worker whose driver is gone reads an end of file and ends.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from types import TracebackType
from typing import Any, BinaryIO, Self

from bench.peers import Engine, Message

TAIL_BYTES = 2000
STOP_SECONDS = 10


class WorkerError(Exception):
    """An engine's process ended or answered with an error: its log says more."""


@dataclass(frozen=True, slots=True)
class Seat:
    """Where every engine of a run sits: the same CPUs, as many threads, the same root."""

    cpus: Sequence[int]
    root: Path
    logs: Path

    @property
    def threads(self) -> int:
        return len(self.cpus)

    def environment(self) -> dict[str, str]:
        """OpenMP and MKL read these when they are loaded; hubs are asked for nothing."""
        threads = str(self.threads)
        told = {"OMP_NUM_THREADS": threads, "MKL_NUM_THREADS": threads, "HF_HUB_OFFLINE": "1"}
        return {**os.environ, **told, "PYTHONPATH": str(self.root)}


class Worker:
    """The driver's end: one running engine. Leaving the context ends it."""

    def __init__(self, name: str, python: Path, engine: str, order: Message, seat: Seat) -> None:
        self.name = name
        self.facts: Message = {}
        self.log = seat.logs / f"{name}.log"
        given = json.dumps({**order, "side": name, "engine": engine, "cpus": list(seat.cpus)})
        with ExitStack() as opened:
            seat.logs.mkdir(parents=True, exist_ok=True)
            self._process = subprocess.Popen(
                [str(python), "-m", "bench.peers.worker", given],
                cwd=seat.root,
                env=seat.environment(),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=opened.enter_context(self.log.open("wb")),
            )

    def ready(self) -> Message:
        """Wait until the engine is loaded; its facts, which `facts` holds from then on."""
        self.facts = self._receive()
        return self.facts

    def ask(self, **request: object) -> Message:
        """One question, and wait for its answer."""
        if self._process.stdin is None:
            raise WorkerError(f"{self.name}: no pipe to ask through")
        try:
            send(self._process.stdin, request)
        except BrokenPipeError:
            raise self._error("it ended") from None
        return self._receive()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._process.stdin and self._process.stdin.close()
        try:
            self._process.wait(STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        self._process.stdout and self._process.stdout.close()

    def _receive(self) -> Message:
        answer = None if self._process.stdout is None else receive(self._process.stdout)
        if answer is None:
            raise self._error("it ended")
        if "failed" in answer:
            raise self._error(str(answer["failed"]))
        return answer

    def _error(self, what: str) -> WorkerError:
        tail = self.log.read_bytes()[-TAIL_BYTES:].decode(errors="replace").strip()
        return WorkerError(f"engine {self.name}: {what}\n{tail}\nhint: all of it is in {self.log}")


def serve(engine: Engine, questions: BinaryIO, answers: BinaryIO) -> None:
    """The worker's end: facts first, then an answer to every question until there are no more."""
    send(answers, engine.facts())
    while (request := receive(questions)) is not None:
        try:
            send(answers, engine.answer(request))
        except Exception as error:
            send(answers, {"failed": f"{type(error).__name__}: {error}"})
            raise


def own_output() -> BinaryIO:
    """Standard output for answers alone; from now on whatever prints does so to standard error."""
    sys.stdout.flush()
    answers = os.fdopen(os.dup(1), "wb", buffering=0)
    os.dup2(2, 1)
    return answers


def send(stream: Any, message: Mapping[str, object]) -> None:
    """One message, one line."""
    stream.write(json.dumps(message, separators=(",", ":")).encode() + b"\n")
    stream.flush()


def receive(stream: Any) -> Message | None:
    """The next message, or None at the end."""
    line = stream.readline()
    if not line:
        return None
    message: Message = json.loads(line)
    return message
