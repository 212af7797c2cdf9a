"""A probe that fails, through the whole real chain: what is kept, what is said, what runs again."""

from __future__ import annotations

import json

import pytest

from tests.platforms.conftest import ROW
from tests.workflow.tree import Tree

PROBES = ("boot", "transport", "request")
SETTINGS = """
models: {minilm: {tiers: []}, distilbert-seeded: {tiers: []}, tiny: {tiers: [1]}}
repetitions: 1
boots: 1
blocks: 1
warmup: 0
tokens: [8]
payload_bytes: [64]
round_trips: 1
"""
FOLDER = "results/records/local/laptop-2vcpu/tiny/rep1"


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """All of it real but a tiny model; the transport's probe fails while a file `fail` exists."""
    tree = Tree.make(tmp_path_factory.mktemp("repository"), real=True)
    config = tree.root / "config"
    with (config / "models.tsv").open("a") as models:
        models.write("\t".join(ROW.values()) + "\n")
    (config / "metrics.tsv").write_text(_only_probes((config / "metrics.tsv").read_text()))
    (config / "tiny.yaml").write_text(SETTINGS)
    probe = tree.root / "bench" / "probes" / "transport.py"
    fails = """from pathlib import Path
    if Path("fail").exists():
        raise TimeoutError("the wire was cut")
    bed.progress("transport")
"""
    text = probe.read_text()
    assert '    bed.progress("transport")\n' in text
    probe.write_text(text.replace('bed.progress("transport")\n', fails))
    return tree


def _only_probes(table: str) -> str:
    """The catalogue with everything planned that other probes measure."""
    rows = [row.split("\t") for row in table.splitlines()]
    for row in rows[1:]:
        if row[2] == "measured" and row[3] not in PROBES:
            row[2:4] = "planned", "-"
    return "".join("\t".join(row) + "\n" for row in rows)


def run(tree: Tree, target: str = "all", *options: str) -> str:
    done = tree.snakemake(target, *options, "--configfile", "config/tiny.yaml")
    assert done.returncode == 0, done.stdout
    return done.stdout


def lines(tree: Tree) -> list[str]:
    return (tree.root / FOLDER / "tier1.jsonl").read_text().splitlines()


def test_a_failed_probe_is_reported_and_the_next_run_measures_it_alone(tree: Tree) -> None:
    fail = tree.root / "fail"
    fail.touch()
    said = run(tree)
    assert "transport failed: TimeoutError: the wire was cut" in said
    context, *first = lines(tree)
    failed = [json.loads(line) for line in first if "failed" in json.loads(line)]
    assert [line["metric"] for line in failed] == ["transport_round_trip"]
    assert {"cold_start", "request_latency"} <= {json.loads(line)["metric"] for line in first}
    page = (tree.root / "results" / "report" / "index.html").read_text()
    assert "TimeoutError: the wire was cut" in page
    run(tree, "verify")

    fail.unlink()
    said = run(tree)
    assert "start of plain" in said and "start of bare" not in said  # it needs two of four
    again, *second = lines(tree)
    assert second[: len(first)] == first
    assert {json.loads(line)["metric"] for line in second[len(first) :]} == {"transport_round_trip"}
    assert json.loads(again)["context"]["identity"] == json.loads(context)["context"]["identity"]
    run(tree, "verify")

    assert tree.planned("--configfile", "config/tiny.yaml") == {}
    assert [path.name for path in (tree.root / FOLDER / ".tier1").iterdir()] == ["short"]
