"""The table of goals: what ships is right, and what is wrong is named."""

from __future__ import annotations

from pathlib import Path

import pytest

from bench import goals, plan
from bench.peers import measure
from bench.tables import ConfigError

ROOT = Path(__file__).parents[2]
TABLE = ROOT / "config" / "goals.tsv"
ROW = {
    "probe": "encoder",
    "metric": "forward",
    "model": "minilm",
    "at": "tokens=8 tokens=32;batch=8",
    "unit": "ms",
    "numerator": "ours-fp32",
    "denominator": "onnxruntime-fp32",
    "bound": "at_most",
    "goal": "1.4",
    "stretch": "-",
    "title": "Forward pass",
}


def table(folder: Path, **cells: str) -> Path:
    path = folder / "goals.tsv"
    row = ROW | cells
    path.write_text("\t".join(row) + "\n" + "\t".join(row.values()) + "\n")
    return path


def test_the_shipped_table_names_probes_models_and_units_that_exist() -> None:
    found = goals.read(TABLE)
    assert {goal.probe for goal in found} <= set(measure.ROWS)
    assert {goal.model for goal in found} <= {
        row.model for row in plan.models(ROOT / "config" / "models.tsv")
    }
    units = {(goal.probe, goal.metric): goal.unit for goal in found}
    assert all(units[goal.probe, goal.metric] == goal.unit for goal in found)


def test_a_row_speaks_of_each_of_its_points(tmp_path: Path) -> None:
    first, second = goals.read(table(tmp_path))
    assert (first.at, second.at) == ("tokens=8", "tokens=32;batch=8")
    assert (first.goal, first.stretch) == (1.4, None)


def test_measuring_is_told_neither_goal_nor_title(tmp_path: Path) -> None:
    asked = goals.measured(goals.read(table(tmp_path)), "encoder", "minilm")
    changed = table(tmp_path, goal="9", stretch="8", title="Other", bound="at_least", unit="s")
    assert goals.measured(goals.read(changed), "encoder", "minilm") == asked
    assert asked[0] == {
        "metric": "forward",
        "at": "tokens=8",
        "sides": "ours-fp32 onnxruntime-fp32",
    }
    assert goals.measured(goals.read(changed), "encoder", "other") == []


def test_our_quantised_weights_are_a_model_of_their_own() -> None:
    assert goals.weights("minilm", "ours-int8") == "minilm-q8"
    assert goals.weights("minilm", "ours-fp32") == "minilm"
    assert goals.weights("minilm", "onnxruntime-int8") == "minilm"
    assert goals.weights("minilm", "sealed") == "minilm"


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        ("at", "tokens", "axis=integer"),
        ("at", "tokens=many", "axis=integer"),
        ("numerator", "ours-fp8", "engine-precision"),
        ("bound", "below", "one of at_most, at_least"),
        ("goal", "0", "a ratio above 0"),
        ("goal", "fast", "a ratio above 0"),
        ("stretch", "-1", "a ratio above 0"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, column: str, cell: str, expected: str) -> None:
    with pytest.raises(ConfigError, match=expected) as caught:
        goals.read(table(tmp_path, **{column: cell}))
    assert (caught.value.line, caught.value.field) == (2, column)
