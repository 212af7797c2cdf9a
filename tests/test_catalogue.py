"""The catalogue against the specification's tables, and against what is wrong with a table."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

from bench import catalogue
from bench.analysis import completeness
from bench.catalogue import COLUMNS, Metric
from bench.tables import ConfigError

ROOT = Path(__file__).parents[1]
METRICS = catalogue.read(ROOT / "config" / "metrics.tsv")

ASKED = completeness.read(ROOT / "config" / "specification.tsv")
SEEDS = Path(__file__).parents[2] / "shared" / "seeds"
STEP = re.compile(r"^[├└]─ (\d+)\. (.*?)(?: {2,}.*)?$", re.MULTILINE)
HEADING = re.compile(r"^### (?!Protocol|Operational)(.*?)(?: \(.*\))?$", re.MULTILINE)
SECTION = re.compile(r"\d(\.\d)?")

ROW = {
    "metric": "some_latency",
    "tier": "1",
    "status": "measured",
    "probe": "request",
    "unit": "ms",
    "axis": "tokens",
    "sides": "plain enclave",
    "models": "encoder",
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


def specified() -> list[tuple[str, str]]:
    """Rows of the specification's tables and steps, and of the milestone's tables, as they name
    themselves."""
    if not SEEDS.is_dir():
        pytest.skip(f"the specification is not there: no {SEEDS}")
    text = (SEEDS / "benchmark-specification.md").read_text()
    found = []
    for tier in "12345":
        rows = column(text.split(f"### Tier {tier}:")[1].split("\n#")[0])
        found += [(f"T{tier}.{number}", name) for number, name in enumerate(rows, start=1)]
    found += [(f"2.1.{number}", name) for number, name in STEP.findall(text)]
    papers = column(text.split("## 8. ")[1].split("\n## ")[0])
    found += [(f"8.{number}", name) for number, name in enumerate(papers, start=1)]
    report = (SEEDS / "milestone-v0.2.9-report.md").read_text()
    for section in "12345":
        part = report.split(f"\n## {section}. ")[1].split("\n## ")[0]
        # Sections 2 and 5 are one table; in the others each heading of a table asks for it whole.
        names = column(part) if section in "25" else HEADING.findall(part)
        found += [(f"M{section}.{number}", name) for number, name in enumerate(names, start=1)]
    return found


def column(text: str) -> list[str]:
    """The first column of the first table."""
    lines = [line for line in text.splitlines() if line.startswith("|")]
    return [line.split("|")[1].strip() for line in lines[2:]]


def test_the_rows_asked_for_are_those_of_the_specification_one_by_one() -> None:
    assert [(asked.row, asked.asked) for asked in ASKED] == specified()


def test_every_row_of_the_specifications_tiers_and_lifecycle_has_a_metric_of_its_tier() -> None:
    answered = {word.partition(":")[0] for metric in METRICS for word in metric.seed.split()}
    assert {asked.row for asked in ASKED if asked.row[0] in "T2"} <= answered
    for metric in METRICS:
        tiers = {word[1] for word in metric.seed.split() if word.startswith("T")}
        assert tiers <= {str(metric.tier)}, metric.id


def test_a_metric_answers_rows_that_exist_or_a_section() -> None:
    rows = {asked.row for asked in ASKED}
    words = {word.partition(":")[0] for metric in METRICS for word in metric.seed.split()}
    assert {word for word in words - rows if not SECTION.fullmatch(word)} == set()


def test_what_no_metric_answers_is_what_this_project_has_no_hardware_for() -> None:
    words = {word.partition(":")[0] for metric in METRICS for word in metric.seed.split()}
    open_ = {asked.row for asked in ASKED if asked.row not in words and not asked.beside}
    assert open_ == {"M4.1", "M4.2", "M4.3"}


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
    rows = catalogue.measured(METRICS, 1, "encoder")
    assert {tuple(row) for row in rows} == {("id", "probe", "unit", "axis")}
    wanted = [metric for metric in METRICS if metric.tier == 1 and metric.status == "measured"]
    assert [row["id"] for row in rows] == [m.id for m in wanted if "encoder" in m.models]


def test_only_what_is_measured_for_a_kind_of_model_is_run(tmp_path: Path) -> None:
    rows = (
        ROW,
        ROW | {"metric": "other", "tier": "3", "probe": "write", "models": "generator"},
        ROW | {"metric": "later", "tier": "5", "status": "planned", "probe": "-"},
    )
    metrics = catalogue.read(table(tmp_path, *rows))
    assert catalogue.tiers(metrics, "encoder") == [1]
    assert catalogue.tiers(metrics, "generator") == [3]
    assert catalogue.probes(metrics, 3, "generator") == ["bench.probes.write"]
    assert catalogue.probes(metrics, 3, "encoder") == []
    assert catalogue.probes(metrics, 5, "encoder") == []


def test_a_probe_of_several_metrics_runs_once() -> None:
    names = catalogue.probes(METRICS, 1, "encoder")
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
            models=("encoder",),
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
        pytest.param("models", "encoder cat", "any of encoder, generator", id="no_such_kind"),
        pytest.param("models", "-", "a value", id="measured_for_no_model"),
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
    with pytest.raises(ConfigError, match="line 2, field row: found '12 cells', expected 13"):
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
