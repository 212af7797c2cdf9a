import numpy as np
import pytest
from scipy import stats as scipy_stats

from bench.analysis import shares


@pytest.mark.parametrize(("right", "n"), [(0, 10), (1, 10), (91, 120), (120, 120), (1, 1)])
def test_a_share_has_the_interval_that_scipy_gives(right, n):
    found = shares.share(right, n)
    expected = scipy_stats.binomtest(right, n).proportion_ci(method="wilson")
    assert found.value == right / n
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high), abs=1e-12)
    assert 0 <= found.low <= found.value <= found.high <= 1


def test_a_share_of_nothing_has_no_value():
    assert shares.share(0, 0).value is None


def test_a_difference_of_shares_by_hand():
    """50 texts: 4 only we have right, 1 only they. Agresti and Min: 3 / 52 and its deviation."""
    ours = np.array([1] * 40 + [1] * 4 + [0] * 1 + [0] * 5)
    theirs = np.array([1] * 40 + [0] * 4 + [1] * 1 + [0] * 5)
    found = shares.difference_of_shares(ours, theirs)
    deviation = np.sqrt((4.5 + 1.5) - 3**2 / 52) / 52
    assert found.value == pytest.approx(3 / 50)
    assert found.low == pytest.approx(3 / 52 - 1.959964 * deviation)
    assert found.high == pytest.approx(3 / 52 + 1.959964 * deviation)


def test_equal_answers_still_leave_a_difference_possible():
    found = shares.difference_of_shares([1] * 120, [1] * 120)
    assert found.value == 0
    assert found.low == -found.high < 0


def test_a_ratio_with_bottoms_of_one_is_the_mean_with_its_t_interval():
    values = np.random.default_rng(1).normal(3, 1, 40)
    found = shares.ratio_of_totals(values, np.ones(40))
    expected = scipy_stats.ttest_1samp(values, 0).confidence_interval(0.95)
    assert found.value == pytest.approx(values.mean())
    assert (found.low, found.high) == pytest.approx((expected.low, expected.high))


def test_a_ratio_of_totals_by_hand():
    """10, 20 and so on nats of 10 tokens each but the last, of 20."""
    top, bottom = [10, 20, 10, 20, 10, 40], [10, 10, 10, 10, 10, 20]
    found = shares.ratio_of_totals(top, bottom)
    rest = np.array(top) - 110 / 70 * np.array(bottom)
    deviation = np.sqrt((rest**2).sum() / 30) / (70 / 6)
    assert found.value == pytest.approx(110 / 70)
    assert found.high - found.value == pytest.approx(2.570582 * deviation)


def test_a_ratio_of_few_texts_has_no_interval():
    found = shares.ratio_of_totals([1, 2, 3, 4, 5], [1] * 5)
    assert (found.value, found.low, found.high, found.need) == (3, None, None, 6)


def test_what_few_starts_could_have_missed():
    assert shares.least_share(1) == pytest.approx(0.05)
    assert shares.least_share(99) == pytest.approx(0.9702, abs=1e-4)  # the rule of three: 3 / 99
    exact = scipy_stats.binomtest(11, 11, alternative="greater").proportion_ci(method="exact")
    assert shares.least_share(11) == pytest.approx(exact.low)


@pytest.mark.parametrize("n", [30, 120])
def test_intervals_hold_the_truth_as_often_as_they_say(n):
    """2,000 simulated samples: shares, paired differences of shares, ratios of unequal texts."""
    random, held = np.random.default_rng(n), np.zeros(3)
    for _ in range(2000):
        ability = random.normal(0.8, 1, n)
        ours, theirs = ((ability + random.normal(0, 0.5, n) > 0).astype(int) for _ in range(2))
        tokens = random.integers(20, 90, n)
        nats = tokens * random.normal(3, 0.6, n)
        truth = 0.7629, 0.0, 3.0  # P(N(0.8, 1.25) > 0), none, mean nats of a token
        found = (
            shares.share(ours.sum(), n),
            shares.difference_of_shares(ours, theirs),
            shares.ratio_of_totals(nats, tokens),
        )
        held += [f.low <= true <= f.high for f, true in zip(found, truth, strict=True)]
    assert np.all((held / 2000 > 0.93) & (held / 2000 < 0.98)), held / 2000
