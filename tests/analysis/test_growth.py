"""Growth of memory: by hand, by simulation, and what may not be said of too little."""

from __future__ import annotations

import numpy as np
import pandas as pd
import pytest
from scipy import stats as reference

from bench.analysis import facts, growth, timelines
from bench.analysis.facts import Cell, Subject
from bench.analysis.growth import RESOLUTION_MIB, Watched
from bench.analysis.ink import DARK, LIGHT
from bench.analysis.stats import Floats

HOUR = 3600.0
SUBJECT = Subject(
    "local", "laptop", "tiny", 5, "session_leak", "Growth", "MiB/h", "lower", emulated=True
)


def watched(rate: float, noise: Floats, seconds: float = 10.0, level: float = 300.0) -> Watched:
    """Memory that grows by `rate` MiB/h, with this noise."""
    times = np.linspace(0, seconds, len(noise))
    return Watched(times, level + rate * times / HOUR + noise)


def test_a_line_has_its_slope_and_the_interval_of_the_kernels_count() -> None:
    boots = [watched(720.0, np.zeros(100)), watched(720.0, np.zeros(100), level=5.0)]
    found = growth.slope(boots)
    reach = RESOLUTION_MIB / 10 * HOUR
    assert found.value == pytest.approx(720)
    assert (found.low, found.high) == pytest.approx((720 - reach, 720 + reach))
    assert found.n == 200


def test_independent_noise_has_the_interval_of_least_squares(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Against scipy's, where every sample is worth one."""

    monkeypatch.setattr(growth, "RESOLUTION_MIB", 0.0)
    monkeypatch.setattr(growth.series, "autocorrelation_time", lambda _: 1.0)
    boot = watched(50.0, np.random.default_rng(1).normal(size=200))
    found, expected = growth.slope([boot]), reference.linregress(boot.elapsed_s, boot.rss_mib)
    reach = expected.stderr * reference.t.ppf(0.975, 198)
    assert found.value == pytest.approx(expected.slope * HOUR)
    assert found.high == pytest.approx((expected.slope + reach) * HOUR)


@pytest.mark.parametrize("boots", [1, 3])
@pytest.mark.parametrize("phi", [0.0, 0.5, 0.8, 0.95])
def test_the_interval_holds_the_truth_though_neighbours_are_alike(
    phi: float, boots: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(growth, "RESOLUTION_MIB", 0.0)
    chance = np.random.default_rng(7)
    held = 0
    for _ in range(300):
        runs = [watched(100.0, 0.1 * _autoregressive(phi, 160, chance)) for _ in range(boots)]
        found = growth.slope(runs)
        assert found.low is not None and found.high is not None
        held += found.low <= 100.0 <= found.high
    assert held >= 300 * 0.87  # single, strongly alike series: 90 of 100


def _autoregressive(phi: float, count: int, chance: np.random.Generator) -> Floats:
    noise = chance.standard_normal(count + 100)
    for i in range(1, len(noise)):
        noise[i] += phi * noise[i - 1]
    return noise[100:]


def test_a_step_among_few_alike_samples_is_bounded_by_its_height() -> None:
    step = np.where(np.arange(100) < 50, 0.0, 1.0)
    found = growth.slope([watched(0.0, step)])
    assert found.value is not None and found.low is not None and found.low < 0
    rest = step - np.polyval(np.polyfit(np.arange(100), step, 1), np.arange(100))
    reach = (1.5 * np.ptp(rest) + RESOLUTION_MIB) / 10 * HOUR
    assert found.value - found.low == pytest.approx(reach)


@pytest.mark.parametrize("count", [2, 7])
def test_too_few_samples_have_no_slope(count: int) -> None:
    found = growth.slope([watched(0.0, np.zeros(count))])
    assert (found.value, found.n, found.need) == (None, count, growth.LEAST)


def frame(boots: int, rate: float, count: int = 50) -> pd.DataFrame:
    """Records of so many boots on both sides; the first ten samples are warm-up and far off."""
    rows = []
    for side, factor in (("plain", 0.0), ("enclave", 1.0)):
        for boot in range(boots):
            for block in range(count):
                early = block < 10
                rss = 99.0 if early else 300 + factor * rate * block / HOUR
                for metric, value in ((growth.ELAPSED, float(block)), (growth.RSS, rss)):
                    rows.append((metric, side, (), 1, boot, block, value, early))
    columns = ["metric", "side", "at", "repetition", "boot", "block", "value", "warmup"]
    return pd.DataFrame(rows, columns=columns)


def test_a_row_says_for_how_long_and_what_it_excludes() -> None:
    enclave, plain = growth.rows(SUBJECT, frame(2, 7200.0))
    assert (enclave["side"], enclave["status"]) == ("enclave", facts.OK)
    assert enclave["value"] == pytest.approx(7200)
    assert enclave["detail"] == "observed for 39 s in each of 2 boots"
    assert plain["side"] == "plain"
    assert plain["detail"] == (
        "observed for 39 s in each of 2 boots: no growth seen above 23.1 MiB/h"
    )
    said = growth.told(pd.DataFrame([plain, enclave]))
    assert said.startswith("Plain: observed for 39 s") and "; enclave: observed" in said


def test_without_samples_there_is_no_row() -> None:
    assert list(growth.rows(SUBJECT, frame(0, 0.0))) == []
    found = frame(1, 0.0)
    assert list(growth.rows(SUBJECT, found[found["metric"] == growth.RSS])) == []


# Timelines


def points() -> pd.DataFrame:
    """What `timeline.csv` holds of one boot: memory, and one outage."""
    found = frame(1, 100.0)
    rows = [
        ("kms_fault", "fault=reset;moment=begin", 0, 0.5),
        ("kms_fault", "fault=reset;moment=end", 0, 1.5),
        ("kms_call", "fault=reset;outcome=answered", 0, 0.0),
        ("kms_call", "fault=reset;outcome=failed", 1, 0.6),
        ("kms_call", "fault=reset;outcome=shed", 2, 1.0),
        ("kms_event", "fault=reset;event=attempt", 0, 0.6),
        ("kms_event", "fault=reset;event=open", 1, 0.7),
        ("kms_event", "fault=reset;event=half-open", 2, 1.6),
        ("kms_event", "fault=reset;event=closed", 3, 1.7),
    ]
    outage = pd.DataFrame(rows, columns=["metric", "at", "number", "value"])
    outage = outage.assign(side="bare", repetition=1, boot=0)
    memory = found[~found["warmup"]].rename(columns={"block": "number"}).assign(at="")
    return pd.concat([memory.drop(columns="warmup"), outage], ignore_index=True)


def test_a_timeline_keeps_every_value_with_its_place() -> None:
    found = frame(1, 0.0).query("metric == 'churn_rss' and side == 'plain'")
    cell = Cell("plain", (("fault", "reset"),), found[~found["warmup"]])
    rows = list(timelines.rows(SUBJECT, [cell]))
    assert [row["number"] for row in rows] == list(range(10, 50))
    assert {(row["at"], row["value"], row["boot"]) for row in rows} == {("fault=reset", 300.0, 0)}


@pytest.mark.parametrize("name", timelines.PICTURES)
def test_a_picture_is_drawn_in_both_inks(name: str) -> None:
    draw, caption = timelines.picture(name, points())
    assert caption.endswith(".")
    for ink in (LIGHT, DARK):
        assert draw(ink).axes


def test_the_breaker_is_drawn_where_it_was_open() -> None:
    (axes,) = timelines.picture("kms_recovery", points())[0](LIGHT).axes
    bars = [bar for bar in axes.patches if bar.get_height() == 0.5]
    assert [bar.get_x() for bar in bars] == pytest.approx([0.7, 1.6])
    assert [bar.get_width() for bar in bars] == pytest.approx([0.9, 0.1])
    assert [len(line.get_xdata()) for line in axes.lines] == [1, 1, 1]
