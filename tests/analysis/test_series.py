import numpy as np
import pytest
from scipy import signal

from bench.analysis import series


def autoregressive(rho, runs=60, length=400, seed=4):
    """Series whose neighbours have a correlation of rho: (1 + rho) / (1 - rho) are worth one."""
    noise = np.random.default_rng(seed).normal(size=(runs, length + 50))
    return signal.lfilter([1], [1, -rho], noise, axis=1)[:, 50:]


@pytest.mark.parametrize("rho", [0.0, 0.3, 0.5, 0.8])
def test_the_time_of_an_autoregressive_series_is_known(rho):
    found = np.mean([series.autocorrelation_time(run) for run in autoregressive(rho)])
    assert found == pytest.approx((1 + rho) / (1 - rho), rel=0.15)


def test_one_straggler_hides_nothing():
    (run,) = autoregressive(0.8, runs=1)
    late = run.copy()
    late[100] = 1e6
    assert series.autocorrelation_time(late) == pytest.approx(
        series.autocorrelation_time(run), rel=0.1
    )


def test_values_that_alternate_are_worth_no_more_than_themselves():
    assert series.autocorrelation_time([0.0, 1.0] * 50) == 1.0


@pytest.mark.parametrize("values", [[], [1.0], [3.0] * 50, [1.0, 2.0] * 5])
def test_few_or_equal_values_have_nothing_in_common(values):
    assert series.autocorrelation_time(values) == 1.0


def test_boots_add_up():
    first, second = autoregressive(0.5, runs=2).tolist()
    ones = series.effective_size([first]), series.effective_size([second])
    assert series.effective_size([first, second]) == pytest.approx(sum(ones))


def boots(slow=0, by=0.0, count=12, length=103, seed=1):
    values = 1 + 0.05 * np.random.default_rng(seed).standard_normal((count, length))
    values[:, :slow] += by
    return (values * np.arange(1, count + 1)[:, None]).tolist()  # boots may differ


@pytest.mark.parametrize(("slow", "by"), [(1, 0.2), (3, 0.1), (8, 0.08)])
def test_the_slow_first_answers_are_counted(slow, by):
    assert series.slow_start(boots(slow, by)) == slow


def test_without_a_change_hardly_any_series_shows_one():
    shown = sum(series.slow_start(boots(seed=seed)) > 0 for seed in range(300))
    assert shown <= 15


def test_quick_first_answers_are_no_warm_up():
    assert series.slow_start(boots(5, -0.3)) == 0


def test_a_change_in_the_second_half_is_drift():
    assert series.slow_start(boots(80, 0.3)) == 0


def test_short_series_have_no_start():
    assert series.slow_start([]) == 0
    assert series.slow_start(boots(2, 0.5, length=series.SHORTEST - 1)) == 0
