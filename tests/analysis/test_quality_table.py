"""The page's tables of quality, from rows that are made up. Nothing here was measured."""

from dataclasses import replace

import pandas as pd
import pytest

from bench.analysis import losses, quality, quality_table, sheets
from bench.analysis.sheets import Summary
from tests.analysis import answers as made


@pytest.fixture
def page(tmp_path):
    """The section that these answers make, through the files that it is read from."""

    def section(*measured):
        rows = [row for answers in measured for row in quality.rows(answers)]
        rows += losses.rows(measured, made.KNOWN)
        frame = pd.DataFrame(rows, columns=sheets.COLUMNS["quality"], dtype=object)
        sheets.write(tmp_path / "quality.csv", frame)
        return quality_table.section(Summary.read(tmp_path))

    return section


def test_nothing_measured_is_said_so(page):
    assert page() == "Not measured.\n"


def test_equal_answers_are_counted_out_loud(page):
    text = page(made.answers(made.digests()))
    assert "**136 of 136 comparisons of answers found the same bytes.**" in text
    assert "Where 10 are compared, what makes up to 26 % of starts" in text
    assert "| minilm | answers | 48 of 48 | 40 of 40 | 48 of 48 | 6 |" in text.replace(
        "\u00a0", " "
    )


def test_a_start_that_differed_is_not_said_to_be_like_the_others(page):
    rows = made.other(made.digests(), repetition=2, boot=1, side="enclave", block=0, iteration=0)
    text = page(made.answers(rows)).replace("\u00a0", " ")
    assert "**134 of 136" in text
    assert "No start differed" not in text
    assert "9 of 10" in text


def test_worth_stands_by_side_with_its_texts(page):
    text = page(made.judged(76))
    assert "| minilm | accuracy, \\% | 76 [67, 83] | 76 [67, 83] | 100 |" in text


def test_losses_say_between_what_and_where_texts_are_few(page):
    text = page(made.written(3.25, "llama-trained-q4"), made.written(3.0, "llama-trained"))
    assert "q4 − fp32" in text
    assert "20 (few)" in text


def test_without_a_second_precision_there_is_no_loss(page):
    assert "no loss can be given" in page(made.judged(76))


def test_seeded_weights_get_a_reason_and_no_number(page):
    text = page(made.judged(76, "distilbert-seeded", seeded=True))
    assert "not given (the weights are seeded" in text
    assert "76 [" not in text


def test_every_machine_has_tables_of_its_own(page):
    other = replace(made.judged(80), instance="other")
    text = page(made.judged(76), other)
    assert "{#tbl-quality}" in text and "{#tbl-quality-2}" in text
    assert "76 [67, 83]" in text and "80 [71, 87]" in text


def test_what_had_nothing_to_be_compared_with_is_not_counted(page):
    text = page(made.answers([row for row in made.digests(boots=1) if row[0] == 1]))
    assert "across starts" not in text
    assert "not estimable" not in text
