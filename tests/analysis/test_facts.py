import random
from dataclasses import replace

import pandas as pd
import pytest
from scipy import stats as reference

from bench.analysis import facts, verdict
from bench.analysis.facts import Cell, Subject

SUBJECT = Subject("local", "laptop", "minilm", 1, "cold_start", "Cold start", "ms", "lower", False)
BANDS = [verdict.Band("cold start", "cold_start", "enclave", "s", 0, 5, "excellent", "quick")]
ALIKE = {"threads": dict.fromkeys(("plain", "bare", "enclave", "null"), "2")}


def samples(rows):
    return pd.DataFrame(rows, columns=["repetition", "boot", "block", "side", "value"])


def cell(values, *, side="enclave", at=(), boots=1, **rest):
    rows = [(1, index % boots, index, side, float(value)) for index, value in enumerate(values)]
    return Cell(side, at, samples(rows), **rest)


def by_statistic(rows):
    return {row["statistic"]: row for row in rows}


def test_a_quantile_stands_with_interval_count_and_levels():
    rows = facts.metric_rows(SUBJECT, ["median"], cell(range(1, 101), boots=4), [])
    row = by_statistic(rows)["median"]
    boots = reference.ttest_1samp([49.0, 50.0, 51.0, 52.0], 0).confidence_interval()
    assert row["value"] == 50.5  # the mean of the boots' medians
    assert (row["low"], row["high"]) == pytest.approx((boots.low, boots.high))
    assert (row["n"], row["repetitions"], row["boots"], row["status"]) == (100, 1, 4, "ok")


def test_what_cannot_be_estimated_has_no_value():
    row = by_statistic(facts.metric_rows(SUBJECT, ["p99"], cell(range(367)), []))["p99"]
    assert (row["value"], row["low"], row["high"]) == (None, None, None)
    assert (row["status"], row["detail"]) == ("not estimable", "n=367 < 368")


def test_one_boot_says_nothing_of_others():
    row = by_statistic(facts.metric_rows(SUBJECT, ["p50"], cell(range(400)), []))["p50"]
    assert (row["value"], row["n"], row["detail"]) == (None, 400, "boots=1 < 3")


def test_how_values_followed_each_other_is_told_beside_them():
    runs = tuple((9.0, 9.0, *[1.0, 1.1] * 20) for _ in range(4))
    rows = by_statistic(
        facts.metric_rows(SUBJECT, ["p50"], cell(range(160), warmups=4, runs=runs), [])
    )
    assert rows["slow_start"]["value"] == 2
    assert rows["effective"]["value"] == 164  # 41 of each boot, after the one that is marked


def test_one_value_a_boot_has_no_order():
    runs = tuple((1.0,) for _ in range(6))
    assert "effective" not in by_statistic(
        facts.metric_rows(SUBJECT, ["p50"], cell(range(6), boots=6, runs=runs), [])
    )


def test_the_largest_value_is_never_dropped():
    rows = facts.metric_rows(SUBJECT, ["max"], cell([1.0] * 50 + [1e6]), [])
    assert by_statistic(rows)["max"]["value"] == 1e6
    assert by_statistic(rows)["tukey_flags"]["value"] == 1


def test_the_spread_of_boots_stands_beside_the_pooled_median():
    rows = facts.metric_rows(SUBJECT, ["median"], cell([1, 10, 2, 20, 3, 30], boots=2), [])
    row = by_statistic(rows)["boot_medians"]
    assert (row["low"], row["high"], row["n"]) == (2.0, 20.0, 2)


def test_warm_ups_are_counted_and_do_not_enter():
    rows = by_statistic(facts.metric_rows(SUBJECT, ["median"], cell([5] * 6, warmups=3), []))
    assert rows["warmups"]["value"] == 3
    assert rows["median"]["n"] == 6


def test_a_cell_that_failed_has_reasons_and_no_value():
    failed = cell([], failures=("timed out", "timed out", "refused"))
    (row,) = facts.metric_rows(SUBJECT, ["median", "max"], failed, [])
    assert (row["statistic"], row["value"], row["status"]) == ("failures", 3, "failed")
    assert row["detail"] == "refused; timed out"


def test_the_median_of_a_side_may_have_a_verdict():
    rows = by_statistic(
        facts.metric_rows(SUBJECT, ["median", "max"], cell([900] * 6, boots=3), BANDS)
    )
    assert rows["median"]["verdict"] == "excellent"
    assert "verdict" not in rows["max"]


def test_an_unknown_statistic_is_our_mistake():
    with pytest.raises(ValueError, match="metric cold_start: no statistic 'slope'"):
        facts.metric_rows(SUBJECT, ["slope"], cell([1]), [])


def test_a_distribution_runs_from_the_least_to_the_most():
    rows = facts.distribution_rows(SUBJECT, cell(range(100)))
    assert (rows[0]["p"], rows[0]["value"], rows[-1]["p"], rows[-1]["value"]) == (0, 0, 1, 99)
    assert facts.distribution_rows(SUBJECT, cell(range(39))) == []


def sides(**factors):
    """Cells of 20 blocks each, the host drifting between blocks."""
    return [
        Cell(
            side,
            (("tokens", 8),),
            samples(
                (1, block % 4, block, side, factor * (1 + block / 10))
                for block in range(20)
                for _ in range(2)
            ),
        )
        for side, factor in factors.items()
    ]


def ratios(cells, parity=ALIKE, contrasts=(("enclave", "plain"), ("null", "plain")), bands=()):
    return facts.overhead_rows(SUBJECT, list(contrasts), cells, parity, list(bands))


def test_a_ratio_names_both_sides_and_its_counts():
    row = ratios(sides(plain=1.0, enclave=1.1, null=1.0))[0]
    assert (row["numerator"], row["denominator"], row["at"]) == ("enclave", "plain", "tokens=8")
    assert (row["ratio"], row["low"], row["high"]) == pytest.approx((1.1, 1.1, 1.1))
    assert (row["blocks"], row["boots"], row["repetitions"], row["incomplete"]) == (20, 4, 1, 0)


def test_every_ratio_says_what_the_null_run_could_have_seen():
    rows = ratios(sides(plain=1.0, enclave=1.1, null=1.02))
    assert [row["detectable"] for row in rows] == pytest.approx([0.02, 0.02])


def test_what_two_identical_sides_differ_by_is_in_every_ratio():
    confidential, null = ratios(sides(plain=1.0, enclave=1.1, null=1.02))
    assert (confidential["low"], confidential["high"]) == pytest.approx((1.08, 1.12))
    assert (null["low"], null["high"]) == pytest.approx((1.02, 1.02))


def test_a_ratio_says_how_many_boots_a_narrow_interval_takes():
    row = ratios(sides(plain=1.0, enclave=1.1, null=1.0))[0]
    spread = row["block_spread"], row["boot_spread"], row["repetition_spread"]
    assert spread == pytest.approx((0, 0, 0), abs=1e-6)
    assert row["boots_needed"] == 3


def test_without_a_null_run_nothing_is_said_about_it():
    rows = ratios(sides(plain=1.0, enclave=1.1))
    assert [row["detectable"] for row in rows] == [None]


def test_without_parity_no_ratio_is_printed():
    parity = {"threads": {"plain": "4", "enclave": "2", "null": "4"}}
    confidential, null = ratios(sides(plain=1.0, enclave=1.1, null=1.0), parity)
    assert "ratio" not in confidential
    assert confidential["status"] == "no parity"
    assert "threads differs" in confidential["detail"]
    assert null["status"] == "ok"


def test_one_ratio_more_changes_no_other_ratios_interval():
    chance = random.Random(3)
    cells = [
        replace(c, samples=c.samples.assign(value=[v * chance.random() for v in c.values]))
        for c in sides(plain=1.0, enclave=1.1, null=1.0)
    ]
    (alone,) = ratios(cells, contrasts=[("null", "plain")])
    _, beside = ratios(cells)
    assert alone["low"] < alone["high"]
    assert (beside["low"], beside["high"]) == (alone["low"], alone["high"])


def stage(name, values):
    rows = [(1, boot, 0, "enclave", float(v)) for boot, v in enumerate(values)]
    return Cell("enclave", (("stage", name),), samples(rows))


def waterfall(stages, whole, **begins):
    cells, begun = ([stage(*item) for item in group.items()] for group in (stages, begins))
    rows = facts.stage_rows(SUBJECT, "enclave", stage("", whole), cells, begun)
    return {row["stage"]: row for row in rows}


def test_a_waterfall_starts_each_stage_where_the_last_one_ended():
    rows = waterfall({"launch": [10] * 6, "load": [20] * 6}, [33] * 6)
    assert [rows[name]["start"] for name in ("launch", "load")] == [0.0, 10.0]
    assert [rows[name]["value"] for name in ("sum", "whole", "residual")] == [30.0, 33.0, 3.0]


def test_stages_that_are_longer_than_the_whole_leave_a_negative_residual():
    assert waterfall({"a": [10] * 6, "b": [20] * 6}, [25] * 6)["residual"]["value"] == -5.0


def test_what_stages_share_counts_once():
    rows = waterfall({"a": [10] * 6, "b": [20] * 6}, [28] * 6, a=[0] * 6, b=[5] * 6)
    assert [rows[name]["start"] for name in "ab"] == [0.0, 5.0]
    assert [rows[name]["value"] for name in ("sum", "whole", "residual")] == [25.0, 28.0, 3.0]


def test_overlap_is_told_boot_by_boot():
    """Over the medians b would begin where a ends, and no boot was like that."""
    rows = waterfall({"a": [10] * 6, "b": [10] * 6}, [20] * 6, a=[0] * 6, b=[4, 4, 4, 16, 16, 16])
    assert (rows["b"]["start"], rows["sum"]["value"]) == (10.0, 17.0)


def test_where_one_beginning_is_missing_stages_stand_one_behind_the_other():
    rows = waterfall({"a": [10] * 6, "b": [20] * 6}, [30] * 6, a=[1] * 6)
    assert (rows["b"]["start"], rows["sum"]["value"]) == (11.0, 30.0)


def test_the_sum_is_over_boots_that_have_every_stage():
    rows = waterfall({"a": [1] * 8, "b": [2] * 7}, [4] * 8)
    assert (rows["sum"]["n"], rows["whole"]["n"], rows["residual"]["n"]) == (7, 8, 7)


def test_a_stage_nobody_measured_is_absent():
    assert set(waterfall({"a": [1] * 6, "b": []}, [4] * 6)) == {"a", "sum", "whole", "residual"}


def test_where_no_stage_was_measured_only_the_whole_is_left():
    assert set(waterfall({"a": []}, [4] * 6)) == {"whole"}


def test_without_the_whole_there_is_neither_sum_nor_residual():
    assert set(waterfall({"a": [1] * 6}, [])) == {"a"}


def test_stages_of_too_few_boots_have_no_place_in_a_picture():
    rows = waterfall({"a": [1] * 5}, [2] * 5)
    assert (rows["a"]["start"], rows["a"]["status"]) == (None, "not estimable")
