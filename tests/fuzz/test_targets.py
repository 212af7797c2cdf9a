"""The fuzz targets on their seeds and on simple mutations of them, so that they stay alive."""

from __future__ import annotations

import importlib
import random

import pytest

from tests.fuzz import harness

MUTATIONS = 60


def mutated(seed: bytes, chance: random.Random) -> bytes:
    data = bytearray(seed)
    for _ in range(chance.randint(1, 4)):
        at = chance.randrange(len(data) + 1)
        data[at : at + chance.randint(0, 3)] = chance.randbytes(chance.randint(0, 3))
    return bytes(data)


def test_every_reader_has_a_target() -> None:
    assert " ".join(harness.NAMES) == "cbor cms document eif frames manifest receipt token"


@pytest.mark.parametrize("name", harness.NAMES)
def test_a_target_holds(name: str) -> None:
    target = importlib.import_module(f"tests.fuzz.fuzz_{name}")
    chance = random.Random(name)
    target.judge(b"")
    for seed in target.SEEDS:
        target.judge(seed)
        for _ in range(MUTATIONS):
            target.judge(mutated(seed, chance))
