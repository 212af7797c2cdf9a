from pathlib import Path

import pytest

from bench import catalogue
from bench.analysis import verdict
from bench.tables import ConfigError

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="module")
def bands():
    return verdict.read(ROOT / "config" / "verdicts.tsv")


def judge(bands, low, high, *, emulated=False, metric="inference_latency", unit="ratio"):
    compared = "enclave" if metric == "cold_start" else "enclave/plain"
    return verdict.judge(bands, metric, compared, (low, high), unit=unit, emulated=emulated).word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (0.98, 1.049, "excellent"),
        (1.05, 1.0999, "good"),
        (1.101, 1.12, "acceptable"),
        (1.151, 9.0, "investigate"),
        (1.02, 1.051, "undecided"),
        (1.0, 1.2, "undecided"),
        (None, None, "undecided"),
    ],
)
def test_a_word_is_given_only_where_the_whole_interval_lies_in_its_band(bands, low, high, word):
    assert judge(bands, low, high) == word


def test_the_upper_edge_belongs_to_the_next_band(bands):
    assert judge(bands, 1.01, 1.05) == "undecided"


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [
        (1200.0, 4999.0, "excellent"),
        (5000.0, 14_000.0, "acceptable"),
        (16_000.0, 29_000.0, "unnamed"),
        (31_000.0, 40_000.0, "problem"),
        (14_000.0, 16_000.0, "undecided"),
    ],
)
def test_milliseconds_are_compared_with_bands_in_seconds(bands, low, high, word):
    assert judge(bands, low, high, metric="cold_start", unit="ms") == word


@pytest.mark.parametrize(
    ("low", "high", "word"),
    [(1.0, 1.14, "normal"), (1.16, 1.29, "acceptable"), (1.5, 3.0, "investigate")],
)
def test_memory_has_bands_of_its_own(bands, low, high, word):
    assert judge(bands, low, high, metric="peak_rss") == word


def test_an_emulated_platform_gets_no_verdict_whatever_it_measured(bands):
    assert judge(bands, 1.0, 1.01, emulated=True) == "no verdict: emulated"
    assert judge(bands, None, None, emulated=True) == "no verdict: emulated"


def test_a_quantity_without_bands_gets_no_words(bands):
    assert judge(bands, 1.0, 1.01, metric="throughput") == ""


def test_an_undecided_verdict_says_between_what(bands):
    given = verdict.judge(
        bands, "peak_rss", "enclave/plain", (1.1, 1.2), unit="ratio", emulated=False
    )
    assert given.reason == "the interval, 10 to 20 %, lies in more than one band"


def test_bands_of_one_quantity_leave_no_gap_and_do_not_overlap(bands):
    for key in {(band.metric, band.compared) for band in bands}:
        own = sorted((b for b in bands if (b.metric, b.compared) == key), key=lambda b: b.low)
        assert [b.high for b in own[:-1]] == [b.low for b in own[1:]]


def test_every_band_is_about_a_metric_of_the_catalogue(bands):
    listed = {metric.id: metric for metric in catalogue.read(ROOT / "config" / "metrics.tsv")}
    for band in bands:
        sides = set(band.compared.split("/"))
        assert sides <= set(listed[band.metric].sides)


ROW = "memory\tpeak_rss\tenclave/plain\t%\t-\t15\tnormal\tall is well\t4.3"


@pytest.mark.parametrize(
    ("old", "new", "field"),
    [
        ("\t15\t", "\tfifteen\t", "below"),
        ("\t-\t15\t", "\t20\t15\t", "below"),
        ("\t%\t", "\tms\t", "unit"),
        ("\tnormal\t", "\t-\t", "verdict"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path, old, new, field):
    path = tmp_path / "verdicts.tsv"
    path.write_text("\t".join(verdict.COLUMNS) + "\n" + ROW.replace(old, new) + "\n")
    with pytest.raises(ConfigError, match=rf"verdicts.tsv, line 2, field {field}"):
        verdict.read(path)
