"""Costing, from a summary written by hand to the sheets and what the page says of them."""

import json
import shutil
from pathlib import Path

import pandas as pd
import pytest

from bench import prices
from bench.analysis import (
    cost_figures,
    cost_table,
    costing,
    crossing_table,
    ink,
    published,
    render,
    sheets,
)
from bench.analysis.sheets import Summary, select
from bench.tables import ConfigError

ROOT = Path(__file__).parents[2]
HERE = {"platform": "aws-nitro", "instance": "c6i.xlarge", "model": "minilm", "tier": 1}
PAID = {"priced_as": "c6i.xlarge", "vcpus": 4, "server_vcpus": 2, "enclaves": 1}
BOUGHT = {
    "c6i.xlarge": PAID | {"hypothetical": False},
    "m6i.xlarge": PAID | {"priced_as": "m6i.xlarge", "hypothetical": False},
    "laptop": PAID | {"hypothetical": True},
    "unpriced": PAID | {"priced_as": "moon.large", "hypothetical": True},
    "crowded": PAID | {"enclaves": 0, "hypothetical": False},
}
KINDS = {"minilm": "encoder", "llama": "generator"}
OK = {"n": 12, "need": 6, "status": "ok"}


def rate(side, value, spread=0.1, *, at="sessions=4", metric="throughput", **place):
    """A row of metrics.csv whose interval reaches so far to both sides."""
    told = HERE | place | {"metric": metric, "side": side, "at": at, "statistic": "median"}
    low, high = value * (1 - spread), value * (1 + spread)
    return told | {"value": value, "low": low, "high": high} | OK


def ratio(value, low, high, *, metric="throughput", at="sessions=4", **place):
    """A row of overhead.csv: enclave / plain."""
    told = HERE | place | {"metric": metric, "at": at, "numerator": "enclave"}
    told |= {"denominator": "plain", "ratio": value, "low": low, "high": high}
    return told | OK


# 0.34 USD an hour, an enclave that serves 100/s and a plain process that serves 125/s.
MEASURED = [rate("plain", 125), rate("enclave", 100)]
RATIOS = [ratio(0.8, 0.75, 0.85), ratio(1.25, 1.2, 1.3, metric="request_latency", at="tokens=8")]


def snapshot(folder, usd=0.36, **further):
    """Prices: 0.36 USD an hour for c6i.xlarge, 0.72 for m6i.xlarge, 1.80 for a GPU."""
    rows = [
        {"instance": "c6i.xlarge", "usd_per_hour": usd},
        {"instance": "m6i.xlarge", "usd_per_hour": 2 * usd},
        {"instance": "NCC40ads_H100_v5", "usd_per_hour": 1.8, "gpu": "H100"},
    ]
    rows = [{"provider": "p", "region": "r", "class": "on-demand"} | row for row in rows]
    rows += [rows[0] | change for change in further.get("rows", ())]
    told = {"schema": 1, "date": "2026-01-31", "currency": "USD", "kind": "estimate"}
    path = folder / "2026-01-31.json"
    path.write_text(json.dumps(told | {"source": "s", "note": "n", "rows": rows}))
    return path


@pytest.fixture
def calculate(tmp_path):
    """The sheets of a summary that holds these rows."""

    def run(metrics=MEASURED, overhead=RATIOS, *, utilisation=(1, 0.5), **prices_):
        for name, rows in (("metrics", metrics), ("overhead", overhead)):
            frame = pd.DataFrame(rows, columns=sheets.COLUMNS[name], dtype=object)
            sheets.write(tmp_path / f"{name}.csv", frame)
        places = pd.DataFrame([*metrics, HERE | {"field": "", "value": ""}])
        told = places[["platform", "instance", "model", "tier"]].drop_duplicates()
        rows = [row | {"field": "platform", "value": row["platform"]} for row in
                told.to_dict("records")]  # fmt: skip
        rows += [row | {"field": "emulated", "value": "false"} for row in rows]
        context = pd.DataFrame(rows, columns=sheets.COLUMNS["context"], dtype=object)
        sheets.write(tmp_path / "context.csv", context)
        costing.calculate(
            tmp_path, ROOT / "config" / "metrics.tsv", snapshot(tmp_path, **prices_),
            ROOT / "config" / "gpu.tsv", bought=BOUGHT, kinds=KINDS, utilisation=utilisation,
            out=tmp_path,
        )  # fmt: skip
        return Summary.read(tmp_path)

    return run


def one(table, utilisation=1, **wanted):
    found = select(table, **wanted)
    if utilisation:
        found = found[found["utilisation"] == utilisation]
    (row,) = found.to_dict("records")
    return row


def values(row):
    return [row[name] for name in ("value", "low", "high")]


# 0.36 USD an hour, 1,000 requests: at 100/s in 10 s 0.001 USD; at 125/s in 8 s 0.0008 USD.
@pytest.mark.parametrize(
    ("basis", "plain", "enclave", "times"),
    [
        ("whole", 0.0008, 0.001, 1.25),
        ("share", 0.0004, 0.0005, 1.25),
        ("filled", 0.0004, 0.001, 2.5),
    ],
)
def test_costs_are_those_worked_out_by_hand(calculate, basis, plain, enclave, times):
    table = calculate()["cost"]
    where = {"metric": "cost_per_1k_inferences", "basis": basis}
    found = values(one(table, side="plain", **where))
    assert found == pytest.approx([plain, plain / 1.1, plain / 0.9])
    assert one(table, side="enclave", **where)["value"] == pytest.approx(enclave)
    multiple = one(table, None, metric="cost_multiplier", basis=basis)
    assert values(multiple) == pytest.approx([times, times * 0.8 / 0.85, times * 0.8 / 0.75])
    more = one(table, side="difference", **where)
    assert more["value"] == pytest.approx(enclave - plain)
    assert more["low"] < more["value"] < more["high"]


def test_what_is_busy_half_of_the_time_costs_twice_as_much(calculate):
    table = calculate()["cost"]
    where = {"metric": "cost_per_1k_inferences", "side": "enclave", "basis": "whole"}
    busy, idle = (values(one(table, share, **where)) for share in (1, 0.5))
    assert idle == pytest.approx([2 * value for value in busy])


def test_every_class_of_the_snapshot_is_a_row(calculate):
    spot = {"class": "spot", "usd_per_hour": 0.036}
    table = calculate(rows=[spot])["cost"]
    where = {"metric": "cost_per_1k_inferences", "side": "enclave", "basis": "whole"}
    dear = one(table, price_class="on-demand", **where)
    cheap = one(table, price_class="spot", **where)
    assert cheap["value"] == pytest.approx(dear["value"] / 10)


def test_overheads_are_of_latencies_and_of_the_time_a_request_takes(calculate):
    table = calculate()["cost"]
    where = {"metric": "tee_overhead"}
    assert values(one(table, None, of="request_latency", **where)) == pytest.approx([25, 20, 30])
    found = values(one(table, None, of="throughput", **where))
    assert found == pytest.approx([25, 100 / 0.85 - 100, 100 / 0.75 - 100])


def test_tokens_are_priced_by_the_million(calculate):
    place = {"model": "llama", "metric": "token_rate", "at": "batch=1"}
    rows = [rate("plain", 20, **place), rate("enclave", 10, **place)]
    table = calculate(rows, [])["cost"]
    found = one(table, metric="cost_per_1m_tokens", side="enclave", basis="whole")
    assert values(found) == pytest.approx([10, 10 / 1.1, 10 / 0.9])
    assert (found["unit"], found["model"]) == ("USD", "llama")


@pytest.mark.parametrize(
    ("instance", "model", "reason"),
    [
        ("c6i.xlarge", "llama", "no record holds token_rate"),
        ("unpriced", "minilm", "the snapshot has no price of moon.large"),
        ("elsewhere", "minilm", "config/instances.tsv names no price (priced_as)"),
    ],
)
def test_what_cannot_be_priced_is_absent_and_says_why(calculate, instance, model, reason):
    place = {"instance": instance, "model": model}
    summary = calculate([rate("enclave", 100, **place)], [])
    costs = summary["cost"]
    (row,) = costs[costs["metric"].str.startswith("cost_per")].to_dict("records")
    assert (row["status"], row["detail"]) == ("not measured", reason)
    assert pd.isna(row["value"])
    assert set(costs["status"]) == {"not measured"}
    assert reason in cost_table.section(summary).replace("\\", "")


def test_a_sample_that_is_too_small_says_so(calculate):
    small = {"value": None, "low": None, "high": None, "n": 2, "status": "not estimable"}
    rows = [row | small | {"detail": "n=2 < 6"} for row in MEASURED]
    summary = calculate(rows, [])
    found = select(summary["cost"], metric="cost_per_1k_inferences")
    assert set(found["detail"]) == {"n=2 < 6"}
    assert set(found["n"]) == {2}
    assert found["value"].isna().all()
    assert "n=2 < 6" in cost_table.section(summary).replace("\\", "")
    crossing = select(summary["crossover"], kind="volume")
    assert set(crossing["detail"]) == {"n=2 < 6"}


def test_where_no_enclave_fits_only_the_filled_instance_has_no_cost(calculate):
    table = calculate([rate("enclave", 100, instance="crowded")], [])["cost"]
    found = select(table, metric="cost_per_1k_inferences", side="enclave")
    by_basis = found.groupby("basis")["status"].unique().map(list).to_dict()
    assert by_basis == {"whole": ["ok"], "share": ["ok"], "filled": ["not measured"]}


def test_the_headline_is_the_point_with_most_sessions_whatever_its_value(calculate):
    rows = [rate("enclave", 100, at=f"sessions={n}") for n in (1, 16, 2)]
    table = calculate([*rows, rate("enclave", 90, at="sessions=8")], [])["crossover"]
    assert set(select(table, kind="volume")["at"]) == {"sessions=16"}


# A GPU at 1.80 USD costs as much as 5 instances at 0.36: these serve 500/s, 1.8 million an hour.
def test_the_crossing_by_volume_is_that_worked_out_by_hand(calculate):
    summary = calculate()
    found = one(summary["crossover"], kind="volume")
    assert values(found) == pytest.approx([1.8e6, 1.62e6, 1.98e6])
    assert (found["unit"], found["at"]) == ("req/h", "sessions=4")
    half = one(summary["crossover"], 0.5, kind="volume")
    assert half["value"] == pytest.approx(0.9e6)
    copied = one(summary["cost"], metric="gpu_crossover")
    assert values(copied) == values(found)
    assert "**0.81 to 2 million** requests an hour" in crossing_table.crossover(summary)


# The GPU makes 138.8 tokens a second at batch 1: at 1.80 USD an hour 3.60 USD for a million.
@pytest.mark.parametrize(
    ("tokens_per_s", "batch"),
    [(20, 1), (40, 2), (2000, None)],  # 5.00, 2.50 and 0.05 USD
)
def test_the_crossing_by_batch_is_the_first_batch_that_undercuts_us(calculate, tokens_per_s, batch):
    place = {"model": "llama", "metric": "token_rate", "at": "batch=1"}
    summary = calculate([rate("enclave", tokens_per_s, 0.01, **place)], [])
    found = one(summary["crossover"], None, kind="batch")
    if batch is None:
        assert (found["status"], found["detail"]) == ("ok", "at no published batch")
        assert pd.isna(found["value"])
        assert "| at no published batch |" in crossing_table.crossover(summary)
    else:
        assert found["value"] == batch
        assert found["low"] <= batch <= found["high"]


def test_the_rate_that_matches_a_gpu_is_where_the_costs_are_equal(calculate):
    summary = calculate()
    found = one(summary["crossover"], None, kind="break-even", at="batch=1")
    assert found["gpu_usd"] == pytest.approx(3.60, abs=0.005)
    assert found["value"] == pytest.approx(0.36 / 3600 * 1e6 / found["gpu_usd"])
    assert "Llama2" in crossing_table.crossover(summary)


def test_instances_are_compared_where_there_are_several(calculate):
    other = [row | {"instance": "m6i.xlarge"} for row in MEASURED]
    summary = calculate([*MEASURED, *other], RATIOS)
    rows = select(summary["cost"], metric="instance_comparison")
    assert dict(zip(rows["at"], rows["value"], strict=True)) == pytest.approx(
        {"instance=c6i.xlarge": 0.001, "instance=m6i.xlarge": 0.002}
    )
    assert set(rows["detail"]) == {""}
    assert "| m6i.xlarge |" in cost_table.instances(summary).replace("\\", "")


def test_the_pivot_has_a_row_for_each_instance_and_a_column_for_each_model(calculate, tmp_path):
    other = rate("enclave", 50, instance="m6i.xlarge")
    calculate([*MEASURED, other], RATIOS)
    table = pd.read_csv(tmp_path / "instances.csv")
    assert table["instance"].to_list() == ["c6i.xlarge", "m6i.xlarge"]
    assert table["minilm"].to_list() == pytest.approx([0.001, 0.004])


def test_one_instance_is_compared_with_nothing(calculate):
    summary = calculate()
    (row,) = select(summary["cost"], metric="instance_comparison").to_dict("records")
    assert row["detail"] == costing.ALONE
    assert "One instance was measured" in cost_table.instances(summary)


def test_a_cost_at_the_price_of_another_machine_is_called_hypothetical(calculate):
    rows = [row | {"instance": "laptop", "platform": "local"} for row in MEASURED]
    summary = calculate(rows, [])
    assert set(summary["cost"]["hypothetical"]) == {"True"}
    assert "**These costs are hypothetical**" in cost_table.section(summary)
    assert "hypothetical" not in cost_table.section(calculate())


@pytest.mark.parametrize(
    ("edges", "said"),
    [
        ((0.75, 0.8, 0.85), "**0.0002"),
        ((0.9, 1.0, 1.1), "no difference that could be told from none"),
        ((1.2, 1.25, 1.3), " less**"),
    ],
)
def test_the_answer_says_more_less_or_neither(calculate, edges, said):
    low, value, high = edges
    text = cost_table.section(calculate(MEASURED, [ratio(value, low, high)]))
    assert said in text
    assert "0.36 USD an hour (on\\-demand)" in text


def test_the_page_names_the_snapshot_by_date_and_digest(calculate, tmp_path):
    text = cost_table.prices(calculate())
    assert "2026\\-01\\-31" in text
    assert prices.read(tmp_path / "2026-01-31.json").sha256 in text
    assert "estimates: no provider was asked" in text


def test_the_page_gives_both_readings_of_published_costs(calculate):
    text = " ".join(crossing_table.published(calculate()).split())
    assert "up to 50 % cheaper" in text
    assert "| 2048 | 128 | 0.3264 | 5.223 |" in text
    assert "takes 4.4 % to 7.9 % of the GPU's throughput at batch 1 to 512" in text


def test_without_records_the_page_says_so(tmp_path):
    nothing = Summary.read(tmp_path)
    assert "nothing has a cost" in cost_table.section(nothing)
    assert crossing_table.crossover(nothing) == "Nothing was measured.\n"
    assert cost_table.prices(nothing) == "No prices were read.\n"


def test_a_wrong_snapshot_is_named(calculate):
    with pytest.raises(ConfigError, match=r"rows\[0\].usd_per_hour: found -1"):
        calculate(usd=-1)


def test_the_same_summary_gives_the_same_bytes(calculate, tmp_path):
    names = [*("cost", "crossover", "gpus", "prices"), "instances"]
    calculate()
    first = [(tmp_path / f"{name}.csv").read_bytes() for name in names]
    calculate()
    assert first == [(tmp_path / f"{name}.csv").read_bytes() for name in names]


def test_the_picture_names_its_lines_in_words(calculate, tmp_path):
    rows = select(calculate()["crossover"], kind="volume")
    ink.save(cost_figures.volume(rows), tmp_path, "crossing")
    for page in ("light", "dark"):
        text = (tmp_path / f"crossing-{page}.svg").read_text()
        for word in ("NCC40ads_H100_v5", "100 %", "50 %", "requests an hour"):
            assert f">{word}<" in text


def test_the_picture_by_batch_names_the_gpu_and_us(calculate, tmp_path):
    place = {"model": "llama", "metric": "token_rate", "at": "batch=1"}
    summary = calculate([rate("enclave", 20, **place)], [])
    ours = select(summary["cost"], metric="cost_per_1m_tokens", basis="whole", side="enclave")
    rows = select(summary["crossover"], kind="break-even")
    ink.save(cost_figures.batches(rows, ours[ours["utilisation"] == 1]), tmp_path, "batches")
    text = (tmp_path / "batches-light.svg").read_text()
    for word in ("NCC40ads_H100_v5", "llama, enclave", "512"):
        assert f">{word}<" in text


def test_a_whole_page_with_costs_and_imports_can_be_made(summary_folder, tmp_path):
    own = tmp_path / "summary"
    shutil.copytree(summary_folder, own)
    bought = {"laptop-2vcpu": PAID | {"hypothetical": True}}
    costing.calculate(
        own, ROOT / "config" / "metrics.tsv", snapshot(tmp_path), ROOT / "config" / "gpu.tsv",
        bought=bought, kinds=KINDS, utilisation=[1], out=own,
    )  # fmt: skip
    shipped = (ROOT / "config" / "published").rglob("*.json")
    published.summarise(shipped, ROOT / "config" / "metrics.tsv", own / "published.csv")
    render.render(
        own, ROOT / "report", ROOT / "config" / "literature.tsv", tmp_path / "build",
        tmp_path / "page.html", quarto=None,
    )  # fmt: skip
    text = (tmp_path / "page.html").read_text()
    for words in (
        "Confidential inference costs",
        "These costs are hypothetical",
        "USD/h",
        "c6i.xlarge",
    ):
        assert words in text
    assert text.count("crossover") > 2
