"""What was asked for and what of it there is: every reason for what is missing is derived."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench import catalogue
from bench.analysis import completeness, completeness_table
from bench.analysis.completeness import Asked, Run
from bench.analysis.sheets import Summary
from bench.catalogue import Metric
from bench.tables import ConfigError
from bench.verify.compliance.properties import PROPERTIES, UNPROVABLE

ROOT = Path(__file__).parents[2]
BY_ID = {metric.id: metric for metric in catalogue.read(ROOT / "config" / "metrics.tsv")}
COLUMNS = ("metric", "model", "at", "status", "detail")
COMPLIANCE = pd.DataFrame(
    [
        {"model": "minilm", "id": "receipts", "property": "Receipts", "result": "proven"},
        {"model": "minilm", "id": "zeroization", "property": "Zeroes", "result": "not proven"},
    ]
).assign(detail="Python cannot wipe memory")


def run(*rows: tuple[str, ...]) -> Run:
    """MiniLM in tiers 1 and 4, a Llama in tier 1."""
    return Run(
        pd.DataFrame(rows, columns=list(COLUMNS)),
        {"minilm": {1, 4}, "llama": {1}},
        {"minilm": "encoder", "llama": "generator"},
        pd.DataFrame({"field": ["placement.numa.0.cpus"]}),
        COMPLIANCE,
    )


def judged(row: str, found: Run, *metrics: Metric, beside: str = "") -> list[dict[str, str]]:
    asked = [Asked(row, "specification", "Something", beside)]
    return list(completeness.judged(asked, metrics or BY_ID.values(), found))


def test_what_was_measured_names_its_models() -> None:
    done = ("peak_rss", "minilm", "", "ok", "")
    small = ("peak_rss", "llama", "", "not estimable", "n = 1, need 6")
    (row,) = judged("T1.6", run(done, small))
    assert (row["state"], row["models"], row["why"]) == ("measured", "minilm llama", "")
    assert row["answer"] == "peak_rss"


@pytest.mark.parametrize(
    ("row", "rows", "why"),
    [
        pytest.param("T3.2", [], "tier 3 is not asked of minilm", id="tier_not_asked_for"),
        pytest.param(
            "T1.1", [("inference_latency", "minilm", "", "failed", "OSError: gone")],
            "failed: OSError: gone", id="failed",
        ),
        pytest.param(
            "T1.1", [("inference_latency", "minilm", "", "not measured", "no record holds this")],
            "no record holds this", id="absent",
        ),
        pytest.param("T1.1", [], "no record of minilm holds it", id="no_word_of_it"),
    ],
)  # fmt: skip
def test_why_something_is_missing_is_said(row: str, rows: list[tuple[str, ...]], why: str) -> None:
    found = judged(row, run(*rows))
    assert {found["state"] for found in found} == {"missing"}
    assert {found["why"] for found in found} == {why}


def test_what_failed_once_and_was_measured_is_measured_and_says_so() -> None:
    at = "tokens=8"
    rows = [("inference_latency", "minilm", at, "ok", "")]
    rows += [("inference_latency", "minilm", "", "failed", "OSError: gone")]
    (row,) = judged("T1.1", run(*rows))
    assert (row["state"], row["why"]) == ("measured", "failed: OSError: gone")


def test_a_stage_counts_by_itself() -> None:
    rows = [("cold_start_stage", model, "stage=fetch", "ok", "") for model in ("minilm", "llama")]
    (fetched,) = judged("2.1.4", run(*rows))
    (opened,) = judged("2.1.5", run(*rows))
    assert (fetched["state"], opened["state"]) == ("measured", "missing")
    (neither,) = judged("2.1.5", run())
    assert neither["why"].startswith("no record of minilm holds it at open")
    assert fetched["title"] == "Stages of the cold start (fetch)"


def test_a_metric_of_another_kind_of_model_is_missing_for_want_of_one() -> None:
    found = run()
    alone = Run(
        found.found, {"minilm": {1}}, {"minilm": "encoder"}, found.context, found.compliance
    )
    rows = [row for row in judged("8.10", alone) if row["answer"] == "bert_score"]
    assert [row["why"] for row in rows] == ["no generator in this run"]


def test_a_planned_metric_says_so() -> None:
    planned = replace(BY_ID["peak_rss"], status="planned", probe="")
    assert {row["why"] for row in judged("T1.6", run(), planned)} == {"planned"}


def test_what_nothing_answers_says_so() -> None:
    (row,) = judged("M4.1", run())
    assert (row["state"], row["why"]) == ("missing", "no metric of the catalogue answers it")


@pytest.mark.parametrize(
    ("beside", "state", "why"),
    [
        ("compliance:receipts", "measured", ""),
        ("compliance:zeroization", "missing", "Python cannot wipe memory"),
        ("compliance:absent", "missing", "no bundle was checked"),
        ("context:placement.numa", "measured", ""),
        ("context:cpu_governor", "missing", "this machine does not tell it"),
    ],
)
def test_what_is_no_metric_answers_from_where_it_stands(beside: str, state: str, why: str) -> None:
    (row,) = judged("M5.9", run(), beside=beside)
    assert (row["state"], row["why"]) == (state, why)


def test_security_properties_that_answer_something_are_checked_or_open_by_that_name() -> None:
    asked = completeness.read(ROOT / "config" / "specification.tsv")
    names = {row.beside.partition(":")[2] for row in asked if row.beside.startswith("compliance:")}
    assert names <= {asked.id for asked in PROPERTIES} | set(UNPROVABLE)


def test_a_wrong_place_is_named(tmp_path: Path) -> None:
    path = tmp_path / "specification.tsv"
    path.write_text("row\tsource\tasked\tbeside\nT1\ts\ta\tmoon:x\n")
    with pytest.raises(ConfigError, match="line 2, field beside: found 'moon:x'"):
        completeness.read(path)


def test_the_page_counts_rows_and_says_why_some_are_missing() -> None:
    done = ("peak_rss", "minilm", "", "ok", "")
    asked = [Asked(row, "tier 1", row, "") for row in ("T1.6", "T1.1")]
    rows = list(completeness.judged(asked, BY_ID.values(), run(done)))
    text = completeness_table.section(Summary({"completeness": pd.DataFrame(rows)}))
    assert text.startswith("Of 2 rows that are asked for: 1 measured, 1 **missing**.")
    assert "no record of minilm holds it" in text
    assert "{#tbl-completeness-1}" in text


def test_a_page_without_a_check_says_so() -> None:
    empty = Summary({"completeness": pd.DataFrame()})
    assert "not checked" in completeness_table.section(empty)
