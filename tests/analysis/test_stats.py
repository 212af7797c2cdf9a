import time

import numpy as np
import pytest
from scipy import stats as reference

from bench.analysis import stats

NEEDED = [(0.5, 6), (0.9, 36), (0.95, 72), (0.99, 368), (0.999, 3688)]


@pytest.mark.parametrize(("p", "n"), NEEDED)
def test_minimum_count_is_the_first_n_whose_extremes_enclose_the_quantile(p, n):
    def misses(count):
        return max(p**count, (1 - p) ** count)

    assert stats.minimum_count(p) == n
    assert misses(n) <= 0.025 < misses(n - 1)


@pytest.mark.parametrize(("p", "n"), NEEDED)
def test_a_quantile_is_refused_one_value_short_of_its_interval(p, n):
    values = np.arange(n, dtype=float)
    assert stats.estimate_quantile(values[1:], p) == stats.Estimate(None, None, None, n - 1, n)
    assert stats.estimate_quantile(values, p).value is not None


@pytest.mark.parametrize(
    ("n", "p", "ranks"),
    [
        (6, 0.5, (1, 6)),
        (10, 0.5, (2, 9)),
        (100, 0.5, (40, 61)),
        (72, 0.95, (64, 72)),
        (1000, 0.99, (983, 997)),
        (10_000, 0.99, (9880, 9920)),
    ],
)
def test_interval_ranks_are_those_of_published_tables(n, p, ranks):
    assert stats.interval_ranks(n, p) == ranks


@pytest.mark.parametrize("n", [1, 7, 100, 5000, 100_000])
@pytest.mark.parametrize("p", [0.01, 0.5, 0.95, 0.999])
def test_binomial_cdf_agrees_with_scipy(n, p):
    ours = stats.binomial_cdf(n, p)
    np.testing.assert_allclose(ours, reference.binom.cdf(np.arange(n + 1), n, p), atol=1e-8)


@pytest.mark.parametrize(
    ("n", "p"),
    [(n, p) for p, need in NEEDED for n in (need, need + 1, 2 * need + 1, 5000)],
)
def test_each_tail_of_an_interval_is_as_large_as_it_may_be(n, p):
    low, high = stats.interval_ranks(n, p)
    below = reference.binom(n, p)
    assert below.cdf(low - 1) <= 0.025 < below.cdf(low)
    assert below.sf(high - 1) <= 0.025
    assert high == low + 1 or below.sf(high - 2) > 0.025


def test_an_estimate_is_made_of_the_ordered_values_at_its_ranks():
    values = np.random.default_rng(5).permutation(np.arange(1.0, 101.0))
    assert stats.estimate_quantile(values, 0.5) == stats.Estimate(50.5, 40.0, 61.0, 100, 6)


@pytest.mark.parametrize(
    ("p", "value"), [(0.0, 1.0), (0.25, 1.75), (0.5, 2.5), (0.9, 3.7), (1.0, 4.0)]
)
def test_quantile_is_hyndman_and_fans_seventh(p, value):
    assert stats.quantile([4.0, 2.0, 1.0, 3.0], p) == pytest.approx(value)


def test_median_of_medians_is_not_the_pooled_median():
    groups = [[1.0, 2.0, 30.0], [4.0, 5.0, 6.0], [7.0, 8.0, 9.0, 9.0, 9.0]]
    assert stats.median_of_medians(groups) == 5.0
    assert stats.quantile(np.concatenate(groups), 0.5) == 7.0


def test_order_statistic_intervals_hold_what_they_promise():
    rng = np.random.default_rng(20)
    true = reference.expon.ppf(0.95)
    held = 0
    for _ in range(400):
        found = stats.estimate_quantile(rng.exponential(size=100), 0.95)
        held += found.low <= true <= found.high
    assert 0.94 <= held / 400 <= 0.99


def nested(rng, *, blocks=20, boot_spread=0.0, repetition_spread=0.0):
    """Three repetitions of four boots around 1.05, their blocks spread by 0.05."""
    levels = []
    for _ in range(3):
        centre = 1.05 + rng.normal(0, repetition_spread)
        centres = [centre + rng.normal(0, boot_spread) for _ in range(4)]
        levels.append([rng.normal(boot, 0.05, blocks) for boot in centres])
    return levels


def test_one_level_alone_is_scipys_percentile_bootstrap():
    values = np.random.default_rng(1).normal(10, 1, 1001)
    ours = stats.hierarchical_median([[values]], np.random.default_rng(2), resamples=4000)
    theirs = reference.bootstrap(
        (values,), np.median, n_resamples=4000, method="percentile", rng=np.random.default_rng(3)
    ).confidence_interval
    assert ours.value == np.median(values)
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)
    assert ours.high - ours.low > 0.1


def test_whole_repetitions_are_drawn():
    levels = [[[1.0] * 6], [[3.0] * 6]]
    found = stats.hierarchical_median(levels, np.random.default_rng(4), resamples=400)
    assert (found.value, found.low, found.high) == (2.0, 1.0, 3.0)


def test_whole_boots_are_drawn_within_their_own_repetition():
    levels = [[[1.0] * 50, [2.0] * 50], [[1.5] * 100]]
    drawn = stats._resampled_medians(levels, np.random.default_rng(4), 2000)
    assert set(np.round(drawn, 3)) <= {1.0, 1.25, 1.5, 1.75, 2.0}
    assert {1.0, 2.0} < set(np.round(drawn, 3))


def test_levels_may_be_ragged_and_empty_boots_count_for_nothing():
    ragged = [[[2.0, 2.0, 2.0], []], [[2.0], [2.0, 2.0]], []]
    found = stats.hierarchical_median(ragged, np.random.default_rng(4), resamples=200)
    assert (found.value, found.low, found.high, found.n) == (2.0, 2.0, 2.0, 6)


def test_boots_that_differ_widen_the_interval_beyond_the_flat_one():
    levels = nested(np.random.default_rng(6), boot_spread=0.05)
    flat = [[np.concatenate([boot for repetition in levels for boot in repetition])]]
    rng = np.random.default_rng(7)
    nested_, flat_ = (stats.hierarchical_median(x, rng, resamples=1000) for x in (levels, flat))
    assert nested_.high - nested_.low > 2 * (flat_.high - flat_.low)


def test_five_blocks_give_no_ratio():
    found = stats.hierarchical_median([[[1.0] * 5]], np.random.default_rng(8))
    assert found == stats.Estimate(None, None, None, 5, 6)


def test_the_generator_alone_decides_the_resamples():
    levels = nested(np.random.default_rng(9))
    found = [
        stats.hierarchical_median(levels, np.random.default_rng(seed), resamples=300)
        for seed in (1, 1, 2)
    ]
    assert found[0] == found[1] != found[2]


def test_ten_thousand_resamples_of_a_full_run_take_less_than_three_seconds():
    levels = nested(np.random.default_rng(10), blocks=50)
    start = time.process_time()
    stats.hierarchical_median(levels, np.random.default_rng(11), resamples=10_000)
    assert time.process_time() - start < 3


@pytest.mark.parametrize(
    ("boot_spread", "repetition_spread", "least", "most"),
    [(0.0, 0.0, 0.97, 1.0), (0.03, 0.0, 0.93, 0.99), (0.0, 0.05, 0.65, 0.85)],
)
def test_intervals_hold_what_their_docstring_says(boot_spread, repetition_spread, least, most):
    rng = np.random.default_rng(12)
    held = 0
    for _ in range(300):
        levels = nested(rng, boot_spread=boot_spread, repetition_spread=repetition_spread)
        found = stats.hierarchical_median(levels, rng, resamples=300)
        held += found.low <= 1.05 <= found.high
    assert least <= held / 300 <= most


def test_the_smallest_detectable_effect_is_the_far_edge_of_the_null():
    assert stats.smallest_detectable(stats.Estimate(1.0, 0.98, 1.01, 50, 6)) == pytest.approx(0.02)
    assert stats.smallest_detectable(stats.Estimate(1.02, 1.01, 1.03, 50, 6)) == pytest.approx(0.03)
    assert stats.smallest_detectable(stats.Estimate(None, None, None, 3, 6)) is None


def test_tukey_flags_beyond_three_interquartile_ranges():
    # Quartiles of 1..9 and one far value are 3.25 and 7.75: fences at -10.25 and 21.25.
    values = [1.0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert stats.tukey_flags([*values, 21.2]).sum() == 0
    assert list(np.flatnonzero(stats.tukey_flags([*values, 21.3]))) == [9]


def test_modified_z_flags_by_the_median_absolute_deviation():
    # Median 5, deviations 4 3 2 1 0 1 2 3 4 and 11.6: MAD 2.5 with ten values, 0.6745 x / 2.5.
    values = [1.0, 2, 3, 4, 5, 6, 7, 8, 9]
    assert stats.mad_flags([*values, 18.4]).sum() == 0
    assert list(np.flatnonzero(stats.mad_flags([*values, 18.5]))) == [9]


def test_the_modified_z_constant_is_the_normal_quartile():
    assert pytest.approx(reference.norm.ppf(0.75)) == stats.NORMAL_QUARTILE


def test_where_most_values_are_equal_the_mad_says_nothing():
    assert stats.mad_flags([1.0] * 9 + [50.0]).sum() == 0


def test_z_cannot_flag_among_ten_values_but_can_among_eleven():
    assert stats.z_flags([0.0] * 9 + [1e9]).sum() == 0
    assert stats.z_flags([0.0] * 10 + [1e9]).sum() == 1


@pytest.mark.parametrize("flags", [stats.z_flags, stats.mad_flags, stats.tukey_flags])
def test_flags_of_nothing_are_none(flags):
    assert list(flags([])) == []


def test_three_deviations_are_exceeded_by_27_in_ten_thousand():
    assert stats.z_flag_probability() == pytest.approx(2 * reference.norm.sf(3))
    assert round(stats.z_flag_probability() * 100, 2) == 0.27
    assert round(stats.z_flag_probability(2.727) * 100, 2) == 0.64


def test_residuals_are_formed_boot_by_boot():
    found = stats.residuals([10.0, 20.0], [[4.0, 5.0], [15.0, 6.0]])
    assert list(found) == [1.0, -1.0]


def test_residuals_do_not_depend_on_how_numbers_lie_in_memory():
    parts = np.random.default_rng(1).lognormal(size=(50, 11))
    found = stats.residuals(np.zeros(50), parts)
    assert (found == stats.residuals(np.zeros(50), np.asfortranarray(parts))).all()
