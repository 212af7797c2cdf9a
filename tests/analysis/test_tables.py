import math

import pandas as pd
import pytest

from bench.analysis import tables

NBSP = "\u00a0"


@pytest.mark.parametrize(
    ("value", "arm", "text"),
    [
        (4.0581, 0.029, "4.06"),
        (1.0624, 0.0053, "1.062"),
        (1.0624, 0.05, "1.06"),
        (1603.4, 80, "1,603"),
        (0.0613, 0.0007, "0.0613"),
        (1.0, 1e-15, "1.0000"),
        (12.0, 0.0, "12.00"),
        (-3.21, 0.1, "−3.2"),
        (0.0, 0.0, "0"),
        (1234.5, 0.0, "1,234"),
    ],
)
def test_a_number_has_the_digits_its_interval_supports(value, arm, text):
    assert tables.number(value, arm) == text


def row(**changes):
    fields = {"status": "ok", "detail": "", "value": 4.0581, "low": 4.024, "high": 4.082}
    return fields | changes


def test_a_value_stands_with_its_interval_in_the_same_digits():
    assert tables.measured(row()) == "4.06 [4.02, 4.08]"


def test_a_long_tail_does_not_blur_the_value():
    assert tables.measured(row(value=4.81, low=4.78, high=7.48)) == "4.81 [4.78, 7.48]"


def test_a_value_without_an_interval_stands_alone():
    assert tables.measured(row(low=math.nan, high=math.nan)) == "4.058"


def test_what_is_not_estimable_is_no_number():
    small = row(status="not estimable", detail="n=5 < 6", value=math.nan)
    assert tables.measured(small) == r"not estimable (n\=5 \< 6)"


@pytest.mark.parametrize(
    ("at", "said"),
    [
        ("", "–"),
        ("tokens=128", f"128{NBSP}tokens"),
        ("sessions=1", f"1{NBSP}session"),
        ("requests=200", f"200{NBSP}requests"),
        ("arrivals=poisson;load=0.8", f"poisson, 80{NBSP}% of capacity"),
        ("quantile=0.99", "p99"),
        ("payload_bytes=64", f"64{NBSP}B"),
        ("payload_bytes=1024", f"1{NBSP}KiB"),
        ("payload_bytes=1048576", f"1{NBSP}MiB"),
        ("bucket_bytes=4096", f"buckets of 4{NBSP}KiB"),
        ("payload_bytes=1500", f"1500{NBSP}B"),
        ("tokens=8;stage=key_release", f"8{NBSP}tokens, key release"),
    ],
)
def test_a_point_is_said_as_a_reader_would(at, said):
    assert tables.point(at) == said


def pipe(header, rows, caption, label):
    return tables.pipe(pd.DataFrame(rows, columns=header), caption, label)


def test_a_pipe_table_has_caption_label_and_numbers_to_the_right():
    made = pipe(["Side", "p50"], [["plain", "4.06 [4.02, 4.08]"]], "Latency.", "latency")
    assert made.splitlines() == [
        "| Side | p50 |",
        "| :--- | ---: |",
        "| plain | 4.06 [4.02, 4.08] |",
        "",
        ": Latency. {#tbl-latency}",
    ]


def test_words_that_start_like_numbers_stay_left():
    made = pipe(["At"], [[f"16{NBSP}tokens"], ["2 % longer"]], "C", "l")
    assert made.splitlines()[1] == "| :--- |"


def test_a_refused_estimate_keeps_its_column_to_the_right():
    made = pipe(["p99"], [["5.8 [5.1, 9.0]"], [r"not estimable (n\=9 \< 368)"]], "C", "l")
    assert made.splitlines()[1] == "| ---: |"


def test_a_column_that_says_nothing_is_left_out():
    made = pipe(["a", "b", "c"], [["x", "", "1"], ["y", "–", "2"]], "C", "l")
    assert made.splitlines()[0] == "| a | c |"


def test_every_ratio_names_its_denominator():
    fields = row(numerator="enclave", denominator="plain", ratio=1.06, low=1.05, high=1.07)
    fields |= {
        "at": "",
        "blocks": 60,
        "boots": 12,
        "detectable": 0.004,
        "verdict": "good",
        "title": "Request",
    }
    made = tables.overheads(pd.DataFrame([fields]), "here", "ratios")
    assert f"| enclave{NBSP}/{NBSP}plain | 1.06 [1.05, 1.07] | 60 | 12 | ± 0.4 % | good |" in made


def test_ratios_of_several_metrics_name_each() -> None:
    fields = row(numerator="enclave", denominator="plain", ratio=1.06, low=1.05, high=1.07)
    fields |= {"at": "", "blocks": 60, "boots": 12, "detectable": math.nan, "verdict": ""}
    both = pd.DataFrame([fields | {"title": title} for title in ("Request", "Session")])
    made = tables.overheads(both, "here", "ratios")
    assert f"| Request | enclave{NBSP}/{NBSP}plain |" in made
    assert f"| Session | enclave{NBSP}/{NBSP}plain |" in made
    assert "\n: Ratios: mean over boots" in made


def test_an_overview_keeps_the_order_of_the_catalogue() -> None:
    def cell(title, unit, at, side, statistic, **changes):
        fields = {"title": title, "unit": unit, "at": at, "side": side, "statistic": statistic}
        return row(n=60) | fields | changes

    small = {"status": "not estimable", "detail": "n=60 < 368"}
    rows = [
        cell("Session", "ms", "", "plain", "p50"),
        cell("Session", "ms", "", "plain", "p99", **small),
        cell("Session", "ms", "", "enclave", "p50"),
        cell("Session", "ms", "", "enclave", "z_flags"),
        cell("Keys", "ms", "part=client", "enclave", "p50"),
        cell("Rate", "1", "", "plain", "median"),  # which other metrics call p50
        cell("Raw", "1", "", "plain", "recorded"),
        cell("Absent", "ms", "", "", ""),
    ]
    lines = tables.overview(pd.DataFrame(rows), "here", "t").splitlines()[2:]
    value = "4.06 [4.02, 4.08]"
    assert lines[0] == "| Metric | Side | median | p99 | n |"
    assert lines[2:6] == [
        rf"| Session, ms | plain | {value} | not estimable (n\=60 \< 368) | 60 |",
        f"| Session, ms | enclave | {value} | – | 60 |",
        f"| Keys (client), ms | enclave | {value} | – | 60 |",
        f"| Rate, 1 | plain | {value} | – | 60 |",
    ]
    assert lines[6] == ""


def test_sides_stand_in_their_order_within_a_point():
    cells = [
        row(statistic="p50", at=at, side=side, n=60, title="T", unit="ms", verdict="")
        for side in ("null", "plain", "enclave")
        for at in ("tokens=8", "tokens=32")
    ]
    lines = tables.metric(pd.DataFrame(cells), "here", "t").splitlines()[2:8]
    assert [line.split("|")[1:3] for line in lines] == [
        [f" {at}{NBSP}tokens ", f" {side} "]
        for at in (8, 32)
        for side in ("plain", "enclave", "null")
    ]


def test_stages_that_one_side_lacks_stand_where_they_ran():
    def cell(side, stage):
        at = f"tokens=8;stage={stage}"
        return row(statistic="p50", at=at, side=side, n=60, title="T", unit="ms", verdict="")

    plain = [cell("plain", stage) for stage in ("received", "sent")]
    enclave = [cell("enclave", stage) for stage in ("received", "opened", "sent")]
    lines = tables.metric(pd.DataFrame([*plain, *enclave]), "here", "t").splitlines()[2:7]
    stages = [line.split("|")[1].split(", ")[1].strip() for line in lines]
    assert stages == ["received", "received", "opened", "sent", "sent"]


def test_a_metric_whose_every_attempt_failed_points_to_the_reasons():
    failed = row(statistic="failures", at="", side="plain", n=0, title="T", unit="ms")
    failed = pd.DataFrame([failed | {"status": "failed"}])
    assert "@sec-failures" in tables.metric(failed, "here", "t")


def test_a_stage_a_side_does_not_have_has_no_number():
    def stage(side, name, kind="stage"):
        return row(side=side, stage=name, kind=kind, unit="ms", title="Cold start")

    cells = [stage("plain", "load"), stage("enclave", "attest"), stage("enclave", "load")]
    made = tables.stages(pd.DataFrame(cells), "here", "s")
    assert "| attest | – | 4.06 [4.02, 4.08] |" in made
    assert made.index("attest") < made.index("| load")


@pytest.mark.parametrize("text", ["a|b", "*x*", "[a](b)", "{{< include /etc/passwd >}}", "<b>"])
def test_text_from_data_cannot_be_markdown(text):
    escaped = tables.plain(text)
    assert all(escaped[i - 1] == "\\" for i, c in enumerate(escaped) if c in "|*[]{}<>()")


def test_a_digest_that_was_cut_shows_it():
    assert tables.code("abcdef", 3) == "`abc…`"
    assert tables.code("a`b|c") == "`a'b/c`"
    assert tables.code("") == "–"
