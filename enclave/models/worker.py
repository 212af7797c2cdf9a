"""The one thread that computes.

OpenMP has a pool of threads for every thread that ever computed, and where all of them together are
more than the CPUs, an idle one sleeps at once instead of looking for work. A forward pass is dozens
of short parallel regions: with a second pool in the process, whoever it belongs to, a short text
took nearly twice as long.
"""

from __future__ import annotations

import threading
from collections.abc import Callable
from queue import SimpleQueue
from typing import Generic, TypeVar

import torch

T = TypeVar("T")


class Result(Generic[T]):
    """What comes of a piece of work: one value after another, or what was raised instead."""

    def __init__(self) -> None:
        self._found: SimpleQueue[tuple[T | None, Exception | None]] = SimpleQueue()

    def put(self, value: T) -> None:
        self._found.put((value, None))

    def fail(self, error: Exception) -> None:
        self._found.put((None, error))

    def get(self) -> T:
        """The next value, waited for."""
        value, error = self._found.get()
        if error is not None:
            raise error
        return value  # type: ignore[return-value]  # one of the two is there


class Worker:
    """A thread that does one piece of work after the other, with `threads` threads of OpenMP.

    `device` is where its tensors are made, `cpu` or `cuda`.
    """

    def __init__(self, threads: int, device: str = "cpu") -> None:
        self._inbox: SimpleQueue[Callable[[], None] | None] = SimpleQueue()
        self._thread = threading.Thread(
            target=self._run, args=(threads, device), name="inference", daemon=True
        )
        self._thread.start()

    def submit(self, work: Callable[[], None]) -> None:
        """Have it done in its turn; it may not raise."""
        self._inbox.put(work)

    def call(self, function: Callable[[], T]) -> T:
        """What a function gives, or raises, there."""
        result: Result[T] = Result()

        def work() -> None:
            try:
                result.put(function())
            except Exception as error:
                result.fail(error)

        self.submit(work)
        return result.get()

    def close(self) -> None:
        """End the thread, once it has done what was submitted."""
        self._inbox.put(None)
        self._thread.join()

    def _run(self, threads: int, device: str) -> None:
        torch.set_num_threads(threads)
        if device != "cpu":  # which is what torch begins with, and faster untold
            torch.set_default_device(device)
        while (work := self._inbox.get()) is not None:
            work()
