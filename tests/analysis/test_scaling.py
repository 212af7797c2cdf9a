"""Fits of latency against length: a model that is known is found again, and no other."""

from __future__ import annotations

import random
import re
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from bench.analysis import figures, ink, scaling, scaling_tables, sheets
from bench.analysis.facts import Cell, Row, Subject

LENGTHS = (32, 63, 128, 256)
SUBJECT = Subject(
    "local", "laptop", "minilm", 1, scaling.METRIC, "Request by length", "ms", "lower", True
)


def cells(
    latency: Callable[[int], float],
    *,
    boots: int = 4,
    lengths: tuple[int, ...] = LENGTHS,
    side: str = "plain",
    spread: float = 0.01,
) -> list[Cell]:
    """Three repetitions of a model with noise in every value and a pace for every boot."""
    chance, found = random.Random(11), []
    paces = {(rep, boot): chance.gauss(1, 0.03) for rep in (1, 2, 3) for boot in range(boots)}
    for tokens in lengths:
        values = [
            (rep, boot, block, side, latency(tokens) * pace * chance.lognormvariate(0, spread))
            for (rep, boot), pace in paces.items()
            for block in range(10)
        ]
        samples = pd.DataFrame(values, columns=["repetition", "boot", "block", "side", "value"])
        found.append(Cell(side, (("tokens", tokens),), samples))
    return found


def coefficients(rows: list[Row]) -> dict[object, Row]:
    return {row["name"]: row for row in rows if row["kind"] == "coefficient"}


def covers(row: Row, truth: float) -> bool:
    low, high = row["low"], row["high"]
    return isinstance(low, float) and isinstance(high, float) and low <= truth <= high


def test_a_line_is_found_as_a_line() -> None:
    rows = list(scaling.rows(SUBJECT, cells(lambda n: 2 + 0.1 * n)))
    found = coefficients(rows)
    assert list(found) == ["a", "b"]
    assert {row["form"] for row in rows} == {"a + b n"}
    assert covers(found["a"], 2) and covers(found["b"], 100)  # µs a token
    assert [found[name]["unit"] for name in found] == ["ms", "µs/token"]


def test_a_curve_is_found_as_a_curve() -> None:
    rows = list(scaling.rows(SUBJECT, cells(lambda n: 2 + 0.08 * n + 2e-4 * n * n)))
    found = coefficients(rows)
    assert list(found) == ["a", "b", "c"]
    assert found["c"]["value"] == pytest.approx(200, rel=0.1)  # ns a token squared
    assert not covers(found["c"], 0)


def test_residuals_are_what_a_fit_leaves() -> None:
    rows = list(scaling.rows(SUBJECT, cells(lambda n: 2 + 0.1 * n + (5 if n == 128 else 0))))
    residuals = [row for row in rows if row["kind"] == "residual"]
    assert [row["name"] for row in residuals] == [f"tokens={n}" for n in LENGTHS]
    for row in residuals:
        assert row["value"] == pytest.approx(row["measured"] - row["fitted"])  # type: ignore[operator]
    worst = max(residuals, key=lambda row: abs(row["value"]))  # type: ignore[arg-type]
    assert worst["name"] == "tokens=128" and worst["value"] > 1  # type: ignore[operator]


def test_every_boot_is_fitted_by_relative_deviations() -> None:
    lengths = np.array([32.0, 63.0, 128.0, 256.0])
    latencies = np.array([[3.0, 5.0, 9.0, 20.0], [2.0, 4.0, 8.0, 16.0]])
    found = scaling.fit(lengths, latencies, 1)
    for boot, (a, b) in zip(latencies, found, strict=True):
        # Normal equations of sum ((a + b n) / y - 1)^2.
        off = (a + b * lengths) / boot - 1
        assert np.sum(off / boot) == pytest.approx(0, abs=1e-12)
        assert np.sum(off * lengths / boot) == pytest.approx(0, abs=1e-9)


def test_a_boot_that_lacks_a_length_is_in_no_fit() -> None:
    made = cells(lambda n: 1 + 0.1 * n)
    short = made[2].samples.query("not (repetition == 2 and boot == 1)")
    made[2] = Cell(made[2].side, made[2].at, short)
    assert len(scaling.medians(made)) == 11
    assert next(iter(scaling.rows(SUBJECT, made)))["n"] == 11


def test_too_few_boots_give_no_number_and_say_so() -> None:
    made = [Cell(c.side, c.at, c.samples.query("repetition == 1")) for c in cells(float, boots=2)]
    rows = list(scaling.rows(SUBJECT, made))
    assert {(row["value"], row["status"], row["detail"]) for row in rows} == {
        (None, "not estimable", "n=2 < 3")
    }


@pytest.mark.parametrize(("lengths", "terms"), [((32,), 0), ((32, 64), 0), ((32, 64, 128), 2)])
def test_a_fit_has_fewer_terms_than_points(lengths: tuple[int, ...], terms: int) -> None:
    made = cells(lambda n: 1 + 0.1 * n + 1e-3 * n * n, lengths=lengths)
    assert len(coefficients(list(scaling.rows(SUBJECT, made)))) == terms


@pytest.fixture
def written(tmp_path: Path) -> pd.DataFrame:
    """Fits of both sides as they come out of a summary's folder."""
    made = [
        *cells(lambda n: 2 + 0.1 * n),
        *cells(lambda n: 3 + 0.1 * n + 1e-3 * n * n, side="enclave"),
    ]
    frame = pd.DataFrame(
        list(scaling.rows(SUBJECT, made)), columns=sheets.COLUMNS["scaling"], dtype=object
    )
    sheets.write(tmp_path / "scaling.csv", frame)
    return sheets.read(tmp_path, "scaling")


def test_tables_say_the_form_the_terms_and_the_residuals(written: pd.DataFrame) -> None:
    text = scaling_tables.coefficients(written, "here", "fit")
    assert "| plain | a \\+ b n | a: whatever the length | 2.0" in text
    assert "| enclave | a \\+ b n \\+ c n² | c: for each pair of tokens |" in text
    assert "ns\\/token²" in text
    rows = scaling_tables.residuals(written, "here", "residuals").splitlines()
    assert sum(row.startswith("| 63\u00a0tokens | enclave |") for row in rows) == 1
    assert len([row for row in rows if "tokens |" in row]) == 2 * len(LENGTHS)


def test_the_picture_names_both_sides_and_every_length(
    written: pd.DataFrame, tmp_path: Path
) -> None:
    ink.save(figures.fits(written), tmp_path, "fits")
    said = re.findall(r"<text[^>]*>([^<]*)</text>", (tmp_path / "fits-dark.svg").read_text())
    assert {"plain", "enclave", "residual, %", *map(str, LENGTHS)} <= set(said)
    told = scaling_tables.told(written)
    assert told.count("plain, ") == 2 + len(LENGTHS) and told.count("enclave, ") == 3 + len(LENGTHS)
