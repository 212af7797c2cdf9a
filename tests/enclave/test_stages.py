"""Stages that overlap, and stages that several threads are in."""

from __future__ import annotations

import threading

import pytest

from enclave.stages import Stages


class Clock:
    """Nanoseconds that pass only when told."""

    def __init__(self) -> None:
        self.now_ns = 1_000_000

    def __call__(self) -> int:
        return self.now_ns


def test_a_stage_has_a_time_and_a_beginning_since_the_start() -> None:
    clock = Clock()
    stages = Stages(clock)
    clock.now_ns += 5
    with stages("import"):
        clock.now_ns += 30
    assert stages.rows() == [["import", 30, 5]]


def test_overlapping_stages_each_have_their_whole_time() -> None:
    clock = Clock()
    stages = Stages(clock)
    with stages("import"):
        clock.now_ns += 10
        with stages("fetch"):
            clock.now_ns += 20
    assert stages.rows() == [["import", 30, 0], ["fetch", 20, 10]]


def test_a_stage_that_goes_on_later_is_one_stage_without_the_pause() -> None:
    clock = Clock()
    stages = Stages(clock)
    for _ in range(2):
        with stages("fetch"):
            clock.now_ns += 7
        clock.now_ns += 100
    assert stages.rows() == [["fetch", 14, 0]]


def test_two_in_a_stage_at_the_same_time_count_once() -> None:
    clock = Clock()
    stages = Stages(clock)
    with stages("open"):
        clock.now_ns += 10
        with stages("open"):
            clock.now_ns += 10
        clock.now_ns += 10
    assert stages.rows() == [["open", 30, 0]]


def test_a_stage_that_fails_has_ended() -> None:
    clock = Clock()
    stages = Stages(clock)
    with pytest.raises(OSError), stages("fetch"):
        clock.now_ns += 3
        raise OSError
    clock.now_ns += 50
    assert stages.rows() == [["fetch", 3, 0]]


def test_threads_come_and_go_without_losing_time() -> None:
    stages = Stages()

    def work() -> None:
        for _ in range(2000):
            with stages("open"):
                pass

    threads = [threading.Thread(target=work) for _ in range(4)]
    with stages("whole"):
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    (_, whole, begin), (_, opened, later) = stages.rows()
    assert 0 < opened <= whole  # type: ignore[operator]
    assert begin <= later  # type: ignore[operator]
