import pandas as pd
import pytest

from bench.analysis import sheets
from bench.analysis.sheets import Summary


def written(folder, name, **columns):
    """What is read of a CSV file that was written with one row of these fields."""
    row = dict.fromkeys(sheets.COLUMNS[name]) | columns
    sheets.write(folder / f"{name}.csv", pd.DataFrame([row], dtype=object))
    return sheets.read(folder, name).iloc[0]


@pytest.mark.parametrize(
    "text", ["", "NA", "nan", "None", "007", "1e5", "True", 'a "b", c', "two\nlines", "a\rb", "–"]
)
def test_text_comes_back_as_it_was(tmp_path, text):
    assert written(tmp_path, "metrics", detail=text)["detail"] == text
    assert written(tmp_path, "context", value=text)["value"] == text


@pytest.mark.parametrize("number", [0.1 + 0.2, 1 / 3, 5e-324, 123456789.123456789, -0.0])
def test_a_number_comes_back_to_its_last_digit(tmp_path, number):
    assert written(tmp_path, "metrics", value=number)["value"].hex() == number.hex()


def test_a_number_that_is_not_there_is_no_zero(tmp_path):
    row = written(tmp_path, "metrics", detail="n=1 < 6", n=1)
    assert pd.isna(row["value"])
    assert row["n"] == 1
    assert pd.isna(written(tmp_path, "metrics")["n"])


def test_a_count_beside_a_row_without_one_stays_whole(tmp_path):
    table = pd.DataFrame([{"n": 6}, {"n": None}], columns=["n"], dtype=object)
    sheets.write(tmp_path / "metrics.csv", table)
    assert (tmp_path / "metrics.csv").read_text() == 'n\n6\n""\n'


@pytest.mark.parametrize("name", [*sheets.COLUMNS, "evidence"])
def test_an_absent_file_has_no_rows(tmp_path, name):
    assert sheets.read(tmp_path, name).empty


def test_rows_are_selected_by_every_field():
    table = pd.DataFrame([("a", "x"), ("a", "y"), ("b", "x")], columns=["side", "at"])
    assert sheets.select(table, side="a", at="x").index.to_list() == [0]
    assert sheets.select(table, side="c").empty
    assert sheets.select(table).equals(table)


def test_a_field_of_the_context_is_matched_whole_and_part_by_part():
    fields = ["boots.1.cpus", "boots.2.cpus", "boots.2.cpus.0", "boots.2.gpus", "bootsx1xcpus"]
    context = pd.DataFrame({"field": fields, "value": list("abcde")})
    summary = Summary({"context": context})
    assert summary.context("boots.*.cpus") == ["a", "b"]
    assert summary.context("boots.2.*") == ["b", "d"]
    assert summary.context("boots") == []
