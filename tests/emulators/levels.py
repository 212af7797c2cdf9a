"""Levels of isolation for tests: each is run for real, or skipped, saying why."""

from __future__ import annotations

import os
from functools import cache
from pathlib import Path

import pytest

from bench.emulators import sandbox
from bench.emulators.sandbox import Level, Probe

REPOSITORY = Path(__file__).parents[2]
CPUS = sorted(os.sched_getaffinity(0))


@cache
def result_of(level: Level) -> Probe:
    return sandbox.probe(level)


def usable(level: Level) -> Level:
    if not result_of(level).works:
        pytest.skip(f"level {level} does not work on this machine: {result_of(level).reason}")
    return level
