import numpy as np
import pytest

from bench.analysis import planning, stats

SHAPE = {"repetitions": 3, "boots": 4, "blocks": 50}


def run(block=0.05, boot=0.01, repetition=0.0, seed=0, repetitions=3, boots=4, blocks=50):
    rng = np.random.default_rng(seed)
    apart = rng.normal(0, repetition, (repetitions, 1, 1)) if repetition else 0
    values = rng.normal(0, boot, (repetitions, boots, 1)) + rng.normal(
        0, block, (repetitions, boots, blocks)
    )
    return (1.05 + apart + values).tolist()


def test_spread_is_taken_apart():
    found = [planning.spread(run(seed=seed)) for seed in range(200)]
    assert np.median([one.block for one in found]) == pytest.approx(0.05, rel=0.05)
    assert np.sqrt(np.mean([one.boot**2 for one in found])) == pytest.approx(0.01, rel=0.15)


def test_repetitions_that_lie_apart_are_told_apart():
    found = planning.spread(run(repetition=0.2, repetitions=20))
    assert found.repetition == pytest.approx(0.2, rel=0.4)
    assert planning.spread(run(boots=40)).repetition == 0


def test_what_blocks_explain_is_no_spread_of_boots():
    assert np.median([planning.spread(run(boot=0, seed=s)).boot for s in range(50)]) < 0.005


def test_the_width_to_expect_is_the_width_that_is_found():
    known = planning.Spread(0.05, 0.01, 0.0, 3, 4, 50)
    widths = []
    for seed in range(300):
        found = stats.nested_median([[boot for rep in run(seed=seed) for boot in rep]])
        widths.append(found.high - found.low)
    assert known.width(4, 50) == pytest.approx(np.median(widths), rel=0.05)


def test_by_hand_one_repetition():
    """Twice t(3) = 3.182 times 1 % over the square root of 4, without any spread of blocks."""
    assert planning.Spread(0, 0.01, 0, 1, 4, 50).width(4, 50) == pytest.approx(0.03182, rel=1e-3)


def test_the_boots_needed_are_the_fewest():
    found = planning.Spread(0.05, 0.02, 0, 3, 4, 50)
    needed = found.boots_needed(0.02)
    assert found.width(needed, 50) <= 0.02 < found.width(needed - 1, 50)


def test_no_number_of_boots_makes_up_for_repetitions_that_differ():
    assert planning.Spread(0.05, 0.01, 0.05, 3, 4, 50).boots_needed(0.02) is None


def test_two_boots_tell_no_spread():
    assert planning.spread(run(repetitions=1, boots=2)) is None
    assert planning.spread([]) is None


def test_one_line_a_ratio(summary_folder, capsys):
    planning.main(summary_folder)
    lines = capsys.readouterr().out.splitlines()
    (line,) = [line for line in lines if "request_latency tokens=128 enclave/plain" in line]
    assert "points wide with 12 boots and 300 blocks; for 2 points" in line
