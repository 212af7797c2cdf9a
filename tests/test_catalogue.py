"""The catalogue against the specification's tables, and against what is wrong with a table."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from bench import catalogue
from bench.catalogue import COLUMNS, Metric
from bench.tables import ConfigError

ROOT = Path(__file__).parents[1]
METRICS = catalogue.read(ROOT / "config" / "metrics.tsv")

# Rows of the specification's section 3, tier by tier.
SPECIFIED = {1: 7, 2: 6, 3: 4, 4: 6, 5: 6}

ROW = {
    "metric": "some_latency",
    "tier": "1",
    "status": "measured",
    "probe": "request",
    "unit": "ms",
    "axis": "tokens",
    "sides": "plain enclave",
    "better": "lower",
    "summary": "p50",
    "contrasts": "enclave/plain",
    "seed": "T1.1",
    "title": "Some latency",
}


def table(folder: Path, *rows: dict[str, str], columns: tuple[str, ...] = COLUMNS) -> Path:
    path = folder / "metrics.tsv"
    lines = [columns, *(tuple(row.values()) for row in rows)]
    path.write_text("".join("\t".join(line) + "\n" for line in lines))
    return path


def test_every_row_of_the_specification_has_a_metric() -> None:
    wanted = {f"T{tier}.{row}" for tier, rows in SPECIFIED.items() for row in range(1, rows + 1)}
    assert {metric.seed for metric in METRICS if metric.seed.startswith("T")} == wanted
    for metric in METRICS:
        if metric.seed.startswith("T"):
            assert metric.seed.startswith(f"T{metric.tier}.")


def test_probes_yield_what_the_catalogue_says() -> None:
    listed: dict[str, set[str]] = {}
    for metric in METRICS:
        if metric.status == "measured":
            listed.setdefault(metric.probe, set()).add(metric.id)
    assert listed == {name: declared(name) for name in listed}


def declared(probe: str) -> set[str]:
    """METRICS of a probe's file, read without importing it."""
    tree = ast.parse((ROOT / "bench" / "probes" / f"{probe}.py").read_text())
    for node in tree.body:
        if isinstance(node, ast.Assign) and ast.unparse(node.targets[0]) == "METRICS":
            return set(ast.literal_eval(node.value))
    raise AssertionError(f"bench/probes/{probe}.py declares no METRICS")


def test_measuring_is_told_nothing_that_only_print_needs() -> None:
    rows = catalogue.measured(METRICS, 1)
    assert {tuple(row) for row in rows} == {("id", "probe", "unit", "axis")}
    assert [row["id"] for row in rows] == [metric.id for metric in METRICS if metric.tier == 1]


def test_planned_metrics_have_nothing_to_run() -> None:
    planned = [metric for metric in METRICS if metric.status == "planned"]
    assert {metric.tier for metric in planned} == {2, 3, 5}
    assert all(not metric.probe for metric in planned)
    assert catalogue.tiers(METRICS) == [1, 4]
    assert catalogue.probes(METRICS, 5) == []


def test_a_probe_of_several_metrics_runs_once() -> None:
    names = catalogue.probes(METRICS, 1)
    assert len(names) == len(set(names))
    assert "bench.probes.request" in names


def test_a_row_is_read_as_it_stands(tmp_path: Path) -> None:
    assert catalogue.read(table(tmp_path, ROW)) == [
        Metric(
            id="some_latency",
            tier=1,
            status="measured",
            probe="request",
            unit="ms",
            axis="tokens",
            sides=("plain", "enclave"),
            better="lower",
            summary=("p50",),
            contrasts=(("enclave", "plain"),),
            seed="T1.1",
            title="Some latency",
        )
    ]


@pytest.mark.parametrize(
    ("column", "cell", "expected"),
    [
        pytest.param("metric", "Some", "a noun in lower case", id="capital_in_an_id"),
        pytest.param("tier", "6", "one of 1, 2, 3, 4, 5", id="no_such_tier"),
        pytest.param("status", "done", "one of measured, computed, planned", id="no_such_status"),
        pytest.param("probe", "-", "a probe (measured)", id="measured_without_a_probe"),
        pytest.param("unit", "-", "a value", id="no_unit"),
        pytest.param("axis", "tokens 3d", "nouns in lower case", id="axis_is_no_name"),
        pytest.param("sides", "plain host", "any of plain, bare", id="no_such_side"),
        pytest.param("better", "more", "one of lower, higher", id="no_such_direction"),
        pytest.param("summary", "p98", "any of p50", id="no_such_statistic"),
        pytest.param("contrasts", "enclave", "side/denominator", id="contrast_of_one"),
        pytest.param("contrasts", "bare/plain", "both of plain, enclave", id="side_not_measured"),
        pytest.param("contrasts", "plain/plain", "side/denominator", id="contrast_with_itself"),
        pytest.param("title", " Title", "text without blanks around it", id="blank_before_text"),
        pytest.param("title", "", "text without blanks around it", id="empty_cell"),
    ],
)
def test_a_wrong_cell_is_named(tmp_path: Path, column: str, cell: str, expected: str) -> None:
    path = table(tmp_path, ROW | {column: cell})
    with pytest.raises(ConfigError) as caught:
        catalogue.read(path)
    error = caught.value
    assert (error.path, error.line, error.field) == (str(path), 2, column)
    assert error.found in (cell, *cell.split())
    assert expected in str(error.expected)


def test_a_planned_metric_with_a_probe_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="expected - \\(planned\\)"):
        catalogue.read(table(tmp_path, ROW | {"status": "planned"}))


def test_two_metrics_of_one_name_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"line 3, field metric: .*line 2 has it"):
        catalogue.read(table(tmp_path, ROW, ROW))


def test_another_header_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="line 1, field header"):
        catalogue.read(table(tmp_path, columns=COLUMNS[::-1]))


def test_a_row_of_another_length_is_refused(tmp_path: Path) -> None:
    short = {name: ROW[name] for name in COLUMNS[:-1]}
    with pytest.raises(ConfigError, match="line 2, field row: found '11 cells', expected 12"):
        catalogue.read(table(tmp_path, short))


def test_an_empty_table_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.tsv").touch()
    with pytest.raises(ConfigError, match="found 'an empty file'"):
        catalogue.read(tmp_path / "metrics.tsv")


def test_an_absent_table_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found 'no such file'"):
        catalogue.read(tmp_path / "metrics.tsv")


def test_a_table_that_is_no_text_is_refused(tmp_path: Path) -> None:
    (tmp_path / "metrics.tsv").write_bytes(b"metric\xff\n")
    with pytest.raises(ConfigError, match="expected UTF-8 text"):
        catalogue.read(tmp_path / "metrics.tsv")
