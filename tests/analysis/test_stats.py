import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
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


def boots(*repetitions):
    """levels[repetition][boot][block] with three blocks a boot around its median."""
    return [[[value - 9, value, value + 5] for value in repetition] for repetition in repetitions]


def test_boots_are_the_units_of_a_ratio():
    levels = boots([1.0, 4.0], [2.0, 3.0])
    theirs = reference.ttest_1samp([1.0, 4.0, 2.0, 3.0], 0).confidence_interval()
    found = stats.nested_median(levels)
    assert (found.value, found.n) == (2.5, 4)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_repetitions_are_the_units_where_they_lie_apart():
    levels = boots([1.0, 1.1], [2.0, 2.1], [3.0, 3.1])
    theirs = reference.ttest_1samp([1.05, 2.05, 3.05], 0).confidence_interval()
    found = stats.nested_median(levels)
    assert found.value == pytest.approx(2.05)
    assert (found.low, found.high) == pytest.approx((theirs.low, theirs.high))


def test_whether_repetitions_lie_apart_is_decided_by_the_f_ratio():
    limit = reference.f.ppf(stats.POOLED, 2, 3)
    for above, differ in ((0.99, False), (1.01, True)):
        gap = np.sqrt(limit * above * 0.5 / 2)  # mean squares: within 0.5, between 2 gap^2
        levels = [np.array([-0.5, 0.5]) + centre for centre in (-gap, 0.0, gap)]
        assert stats.repetitions_differ(levels) is differ


def test_levels_may_be_ragged_and_empty_boots_count_for_nothing():
    ragged = [[[2.0, 2.0, 2.0], []], [[2.0], [2.0, 2.0]], []]
    found = stats.nested_median(ragged)
    assert (found.value, found.low, found.high, found.n) == (2.0, 2.0, 2.0, 3)


@pytest.mark.parametrize("levels", [[], [[]], boots([1.0]), boots([1.0], [2.0])])
def test_two_boots_give_no_ratio(levels):
    found = stats.nested_median(levels)
    count = sum(len(repetition) for repetition in levels)
    assert found == stats.Estimate(None, None, None, count, 3, "boots")


def test_one_boot_in_each_repetition_is_all_there_is():
    found = stats.nested_median(boots([1.0], [2.0], [3.0]))
    assert (found.value, found.n) == (2.0, 3)


def test_shares_are_clopper_and_pearsons():
    """n p need not be whole for us; where it is, scipy has the same limits."""
    for n, p in ((20, 0.5), (100, 0.95), (1000, 0.99)):
        theirs = reference.binomtest(round(n * p), n).proportion_ci(method="exact")
        assert stats._shares(n, p, 0.95) == pytest.approx((theirs.low, theirs.high))


def test_values_that_boots_do_not_tell_apart_are_worth_themselves():
    """Half of every boot lies below the median, so no boot is unlike another."""
    levels = [[[1.0, 2.0, 3.0, 4.0]] * 3] * 2
    assert stats.effective_count(levels, 0.5) == 24


def test_boots_that_are_all_alike_within_are_worth_one_value_each():
    """By hand: 12 boots, half below; their shares' variance is 12 / 11 of an independent one's."""
    levels = [[[float(boot)] * 10 for boot in range(12)]]
    t = reference.t.ppf(0.975, 119) / reference.t.ppf(0.975, 11)
    assert stats.effective_count(levels, 0.5) == pytest.approx(11 * t**2)


def test_one_value_a_boot_is_one_value():
    levels = [[[float(boot)] for boot in range(12)]]
    assert stats.effective_count(levels, 0.5) == pytest.approx(11)


def test_where_repetitions_lie_apart_they_are_what_values_are_worth():
    levels = [[[centre + boot / 10] * 10 for boot in range(4)] for centre in (0.0, 10.0, 20.0)]
    assert stats.effective_count(levels, 0.5) < 3


def test_a_median_is_that_of_a_boot_where_boots_have_one():
    levels = [[list(np.arange(6.0) + boot) for boot in range(4)]]
    nested = stats.nested_median(levels)
    found = stats.clustered_quantile(levels, 0.5)
    assert (found.value, found.low, found.high) == (nested.value, nested.low, nested.high)
    assert (found.n, found.need) == (24, 6)


def test_a_tail_is_that_of_all_values():
    rng = np.random.default_rng(2)
    levels = rng.exponential(size=(3, 4, 100))
    found = stats.clustered_quantile(levels.tolist(), 0.95)
    plain = stats.estimate_quantile(levels.ravel(), 0.95)
    assert found.value == plain.value
    assert found.low < found.value < found.high


def spread_boots(factor):
    """12 boots of 100 values, medians spread by this multiple of what the values in one are."""
    values = np.linspace(-1, 1, 100)
    within = np.subtract(*np.quantile(values, [0.75, 0.25])) / (2 * stats.NORMAL_QUARTILE)
    shifts = np.linspace(-1, 1, 12)
    return [
        (values + shift * factor * within / np.std(shifts, ddof=1)).tolist() for shift in shifts
    ]


def test_a_tail_that_is_made_by_a_boot_or_two_is_refused():
    refused = stats.clustered_quantile([spread_boots(1.51)], 0.95)
    assert refused == stats.Estimate(None, None, None, 12, 72, "boots")
    assert stats.clustered_quantile([spread_boots(1.49)], 0.95).value is not None
    assert stats.clustered_quantile([spread_boots(1.51)], 0.5).value is not None


def test_boots_that_differ_make_a_tail_less_certain():
    alike, apart = (stats.clustered_quantile([spread_boots(by)], 0.95) for by in (0.1, 1.4))
    assert apart.high - apart.low > 2 * (alike.high - alike.low)


def test_values_of_two_boots_have_no_quantile():
    levels = [np.arange(400.0).reshape(2, 200).tolist()]
    assert stats.clustered_quantile(levels, 0.95) == stats.Estimate(None, None, None, 2, 3, "boots")
    assert stats.clustered_quantile(levels, 0.999).counted == "n"


def test_sizes_that_never_change_are_known():
    found = stats.clustered_quantile([[[1744.0] * 31] * 2] * 6, 0.99)
    assert (found.value, found.low, found.high, found.n) == (1744.0, 1744.0, 1744.0, 372)


def test_an_interval_is_wider_by_what_identical_sides_miss():
    found = stats.Estimate(1.1, 1.08, 1.12, 12, 3)

    def edges(low, high):
        wide = stats.widened(found, stats.Estimate(1.0, low, high, 12, 3))
        return wide.low, wide.high

    assert edges(0.99, 1.01) == (1.08, 1.12)
    assert edges(1.01, 1.03) == pytest.approx((1.07, 1.13))
    assert edges(0.95, 0.98) == pytest.approx((1.06, 1.14))
    none = stats.Estimate(None, None, None, 2, 3, "boots")
    assert stats.widened(none, found) == none
    assert stats.widened(found, none) == found


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


def test_time_that_stages_share_is_covered_once():
    """By hand: apart, one within the other, one into the other, and one that began before all."""
    begins = [[0, 10, 30], [0, 2, 5], [0, 5, 8], [10, 0, 12]]
    lengths = [[5, 10, 5], [10, 3, 2], [6, 6, 2], [5, 3, 5]]
    assert stats.covered(begins, lengths).tolist() == [20, 10, 11, 10]


@given(st.lists(st.tuples(st.integers(0, 30), st.integers(0, 10)), min_size=1, max_size=6))
def test_covered_time_is_every_moment_that_a_stage_holds(stages):
    begins, lengths = zip(*stages, strict=True)
    moments = {at for begin, length in stages for at in range(begin, begin + length)}
    assert stats.covered([begins], [lengths]).tolist() == [len(moments)]
