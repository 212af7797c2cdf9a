"""Generation under a clock that is told when each token comes."""

from __future__ import annotations

from collections import Counter
from dataclasses import replace

import pytest

from bench.probes import ALL, generation
from bench.records import Observation
from tests.probes import bed as fake
from tests.probes.bed import COUNTING, WORKLOAD

BLOCKS = WORKLOAD.warmup + WORKLOAD.generations
LENGTHS = len(WORKLOAD.prompt_tokens)


def seen() -> list[Observation]:
    return list(generation.run(fake.make().bed))


def values(found: list[Observation], side: str) -> dict[str, set[float]]:
    """What a side's values are, by metric."""
    here: dict[str, set[float]] = {}
    for observation in found:
        if observation.side == side:
            here.setdefault(observation.metric, set()).add(round(observation.value, 9))
    return here


def test_an_answer_comes_apart_into_its_times() -> None:
    found = seen()
    gaps = [2, 5, 2, 2]
    for side, first in (("plain", 10.0), ("enclave", 12.0)):
        assert values(found, side) == {
            "time_to_first_token": {first},
            "inter_token_latency": {sum(gaps) / 4},
            "longest_token_gap": {5.0},
            "token_rate": {round(4000 / sum(gaps), 9)},
            "completion_latency": {first + sum(gaps) + 1},
        }


@pytest.mark.parametrize(
    ("tokens", "shown"),
    [
        (0, {"completion_latency"}),
        (1, {"completion_latency", "time_to_first_token"}),
        (2, set(generation.METRICS)),
    ],
)
def test_what_few_tokens_do_not_show_is_absent(tokens: int, shown: set[str]) -> None:
    made = fake.make()
    for name in ALL:
        made.sides[name].talks[0].goes_on = lambda _: COUNTING[:tokens]
    assert {observation.metric for observation in generation.run(made.bed)} == shown


def test_sides_take_turns_and_every_value_is_numbered() -> None:
    found = [o for o in seen() if o.metric == "completion_latency"]
    assert len(found) == BLOCKS * LENGTHS * 2 * len(ALL)
    for start in range(0, len(found), 2 * len(ALL)):
        turn = found[start : start + 2 * len(ALL)]
        order = [observation.side for observation in turn]
        assert order[4:] == order[3::-1] and sorted(order[:4]) == sorted(ALL)
        assert len({(o.block, o.at, o.warmup) for o in turn}) == 1
    for side in ALL:
        cell = [o for o in found if o.side == side and o.at == (("prompt_tokens", 8),)]
        assert [o.iteration for o in cell] == list(range(2 * BLOCKS))
        assert [o.block for o in cell] == [-1, -1, 0, 0, 1, 1, 2, 2]
        assert all(o.warmup == (o.block < 0) and o.boot == 1 for o in cell)


def test_what_counts_is_the_likeliest_and_warm_ups_are_drawn() -> None:
    made = fake.make()
    list(generation.run(made.bed))
    talk = made.sides["enclave"].talks[0]
    assert Counter(talk.drawn) == {(0.8, 1): 2 * LENGTHS, (0.0, 0): 2 * LENGTHS * 3}
    assert Counter(talk.asked) == {"8 tokens": 2 * BLOCKS, "32 tokens": 2 * BLOCKS}


def test_receipts_are_checked_outside_of_any_timing() -> None:
    made = fake.make()
    list(generation.run(made.bed))
    evidence = made.sides["enclave"].talks[0].evidence
    assert evidence is not None
    assert len(evidence.receipts) == 2 * LENGTHS * BLOCKS


@pytest.mark.parametrize("says", [[0, 1, 9, 3, 4], [0, 1]], ids=["another", "fewer"])
def test_a_side_that_goes_on_differently_is_named(says: list[int]) -> None:
    made = fake.make(replace(WORKLOAD, warmup=0))
    made.sides["bare"].talks[0].goes_on = lambda _: [COUNTING[token] for token in says]
    with pytest.raises(ValueError, match=r"bare.* differently from token [02] on: '\d+ tokens'"):
        list(generation.run(made.bed))
