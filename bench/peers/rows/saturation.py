"""Requests per second of many sessions that ask again at once, batched / unbatched; and one alone.

Both servers are `bench.plain`, the enclave's engine behind the enclave's frames. They differ in one
argument: how many texts that wait may be computed as one.
"""

from __future__ import annotations

import os
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from pathlib import Path

from bench.client.channel import TimedChannel
from bench.client.talks import PlainTalk
from bench.peers.pipe import WorkerError
from bench.peers.rows import Stand
from bench.records import Observation

METRICS = ("saturation", "lone_latency")
BATCHES = {"batched": 32, "unbatched": 1}
REQUESTS = 4  # of each session in a run
RUNS = 6  # mirrored blocks of runs in each boot, at most


def engine(side: str) -> None:
    """Servers are asked as clients ask."""


def run(stand: Stand) -> Iterator[Observation]:
    """Requests per second, axes `tokens` and `sessions`; milliseconds, axis `tokens`."""
    with ExitStack() as stack:
        servers = {side: stack.enter_context(_server(side, stand)) for side in BATCHES}
        lone = {side: _talk(path) for side, path in servers.items()}
        for talk in lone.values():
            stack.callback(talk.close)
        for block in range(-stand.warmup, stand.blocks):
            for at, sides in stand.points("lone_latency").items():
                text = stand.text(int(dict(at)["tokens"]))
                for position, side in enumerate(stand.mirrored(sides)):
                    place = _place(stand, side, block, position, sides)
                    yield Observation(
                        "lone_latency", *place, _asked(lone[side], text), block < 0, at
                    )
        for block in range(-1, min(stand.blocks, RUNS)):
            stand.progress(f"saturation {max(block + 1, 0)}/{min(stand.blocks, RUNS)}")
            for at, sides in stand.points("saturation").items():
                texts = [stand.text(int(dict(at)["tokens"])) for _ in range(8)]
                for position, side in enumerate(stand.mirrored(sides)):
                    rate = _rate(servers[side], int(dict(at)["sessions"]), texts)
                    place = _place(stand, side, block, position, sides)
                    yield Observation("saturation", *place, rate, block < 0, at)


def _place(
    stand: Stand, side: str, block: int, position: int, sides: Sequence[str]
) -> tuple[str, int, int, int]:
    iteration = 2 * (block + stand.warmup) + int(position >= len(sides))
    return side, stand.boot, block, iteration


@contextmanager
def _server(side: str, stand: Stand) -> Iterator[Path]:
    """A plain server that listens on the path it gives; it inherits its sockets."""
    with tempfile.TemporaryDirectory(prefix="confbench-plain-") as name, ExitStack() as stack:
        path = Path(name) / "service.sock"
        service, echo = socket.socket(socket.AF_UNIX), socket.socket(socket.AF_UNIX)
        for listener, place in ((service, path), (echo, Path(name) / "echo.sock")):
            stack.enter_context(listener).bind(str(place))
            listener.listen(128)
        ready, announce = os.pipe()
        stack.callback(os.close, ready)
        given = {"service": service.fileno(), "echo": echo.fileno(), "ready": announce}
        given |= {"threads": stand.seat.threads, "batch": BATCHES[side]}
        options = [word for name in given for word in (f"--{name}", str(given[name]))]
        options += ["--device", "cpu"]
        cpus = ",".join(map(str, stand.seat.cpus))
        process = subprocess.Popen(
            [
                *("taskset", "-c", cpus, sys.executable, "-m", "bench.plain"),
                *("--model", str(stand.source.absolute()), *options),
            ],
            cwd=stand.seat.root,
            env=stand.seat.environment(),
            pass_fds=(service.fileno(), echo.fileno(), announce),
        )
        stack.callback(process.wait)
        stack.callback(process.kill)
        os.close(announce)
        if not os.read(ready, 16):
            raise WorkerError(f"server {side}: it ended before it was ready")
        yield path


def _talk(path: Path) -> PlainTalk:
    stream = socket.socket(socket.AF_UNIX)
    stream.connect(str(path))
    return PlainTalk(TimedChannel(stream))


def _asked(talk: PlainTalk, text: str) -> float:
    start = time.perf_counter_ns()
    talk.request(text)
    return (time.perf_counter_ns() - start) / 1e6


def _rate(path: Path, sessions: int, texts: Sequence[str]) -> float:
    """Of all sessions together; each has a thread here, as in the probe of throughput."""
    talks = [_talk(path) for _ in range(sessions)]

    def ask(talk: PlainTalk) -> None:
        for number in range(REQUESTS):
            talk.request(texts[number % len(texts)])

    with ThreadPoolExecutor(sessions) as pool:
        start = time.perf_counter()
        for done in [pool.submit(ask, talk) for talk in talks]:
            done.result()
        elapsed_s = time.perf_counter() - start
    for talk in talks:
        talk.close()
    return sessions * REQUESTS / elapsed_s
