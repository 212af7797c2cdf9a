"""The catalogue of attacks: every row held or explained, and the page as the marks have it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests import attacks

TABLE = attacks.read()
MARKS = attacks.collect()


@pytest.mark.parametrize("attack", TABLE, ids=lambda attack: str(attack.number))
def test_a_row_is_held_by_a_test_or_says_why_not(attack: attacks.Attack) -> None:
    held = any(mark.number == attack.number for mark in MARKS)
    assert held or attack.open, f"row {attack.number} has neither a test nor a reason"


def test_a_mark_names_a_row() -> None:
    numbers = {attack.number for attack in TABLE}
    assert [mark for mark in MARKS if mark.number not in numbers] == []


def test_the_page_is_up_to_date() -> None:
    assert attacks.PAGE.read_text() == attacks.page(TABLE, MARKS), "run make attacks"


def test_marks_are_found_wherever_they_stand(tmp_path: Path) -> None:
    source = """
@pytest.mark.attack(1, 2)
@pytest.mark.parametrize("x", [pytest.param(1, marks=pytest.mark.attack(3))])
def test_one(x): ...
def helper(): pytest.mark.attack(9)
class TestTwo:
    @pytest.mark.attack(4)
    def test_two(self): ...
"""
    (tmp_path / "test_file.py").write_text(source)
    whole = (
        "pytestmark = [pytest.mark.attack(5)]\ndef test_three(): ...\nTestFour = Four.TestCase\n"
    )
    (tmp_path / "test_whole.py").write_text(whole)
    found = [(mark.number, mark.test) for mark in attacks.collect(tmp_path)]
    assert found == [
        *((1, "test_one"), (2, "test_one"), (3, "test_one"), (4, "test_two")),
        *((5, "test_three"), (5, "TestFour")),
    ]


@pytest.mark.parametrize(
    "rows",
    ["number\tattack", "1\ta\tb\tc\tsomeday: no", "2\ta\tb\tc\t"],
    ids=["header", "reason", "number"],
)
def test_a_wrong_table_is_refused(rows: str, tmp_path: Path) -> None:
    header = "" if rows.startswith("number") else "number\tattack\trequired\tsources\topen\n"
    (tmp_path / "table.tsv").write_text(header + rows + "\n")
    with pytest.raises(ValueError, match=r"table\.tsv"):
        attacks.read(tmp_path / "table.tsv")
