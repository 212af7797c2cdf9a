import dataclasses

import pandas as pd
import pytest

from bench.analysis import certainty, prose
from bench.analysis.sheets import Summary


@pytest.fixture
def summary(summary_folder):
    return Summary.read(summary_folder)


def changed(summary, table, where, **values):
    frame = summary[table].copy()
    rows = frame.eval(where) if where else frame.index
    for name, value in values.items():
        frame.loc[rows, name] = value
    return dataclasses.replace(summary, tables={**summary.tables, table: frame})


def busy(summary, boot=2):
    field = f"per_boot.{boot}.noise.steal_s"
    return changed(summary, "context", f"field == '{field}' and repetition == '1'", value="30")


def test_a_quiet_run_has_no_callout(summary):
    assert certainty.callout(summary) == ""
    assert "Noisy" not in prose.banner(summary)


def test_a_noisy_run_names_its_boots_at_the_top(summary):
    text = prose.banner(busy(summary))
    assert "Somebody else had this machine in 1 of 12 boots." in text
    assert "tier 1, repetition 1, boot 2: its host stole" in text


def test_every_table_of_a_noisy_run_says_so(summary):
    assert "noisy" not in summary.where("laptop-2vcpu", "minilm")
    assert busy(summary).where("laptop-2vcpu", "minilm").endswith("**noisy in 1 of 12 boots**")
    assert "noisy in 1 of 12 boots" in prose.answer(busy(summary))


def test_the_section_says_how_busy_the_machine_was(summary):
    assert "A boot is called noisy above 5\\% and 1\\%" in certainty.section(summary)


def test_identical_sides_that_differ_are_listed(summary):
    where = "numerator == 'null' and metric == 'peak_rss'"
    text = certainty.section(changed(summary, "overhead", where, ratio=1.2, low=1.1, high=1.3))
    assert "Missed by: Peak resident memory 1.20 [1.10, 1.30]." in text


def test_what_a_narrow_interval_takes_stands_by_point(summary):
    lines = [
        line for line in certainty.section(summary).splitlines() if "| 128\u00a0tokens |" in line
    ]
    cells = [cell.strip() for cell in lines[0].strip("|").split("|")]
    assert cells[:2] == ["minilm", "128\u00a0tokens"]
    assert cells[3:5] == ["300", "12"]
    assert cells[8].isdigit()


def test_warm_ups_that_were_too_few_stand_out(summary):
    assert "enough in 32 of 32 cells." in certainty.section(summary)
    where = "statistic == 'slow_start' and metric == 'request_latency' and side == 'bare'"
    text = certainty.section(changed(summary, "metrics", where, value=9))
    assert "enough in 29 of 32 cells: in the others" in text
    assert text.count("**no**") == 3


def test_an_empty_summary_says_what_is_missing():
    empty = Summary({name: pd.DataFrame(columns=columns) for name, columns in EMPTY.items()})
    text = certainty.section(empty)
    assert "nothing of how busy the machine was" in text
    assert "No two identical sides were compared" in text


EMPTY = {
    "context": ["instance", "model", "tier", "repetition", "field", "value"],
    "overhead": ["metric", "status", "numerator", "denominator"],
    "metrics": ["statistic", *certainty.CELL, "boots", "n", "value"],
}
