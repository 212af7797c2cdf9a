"""What runs again after which change: the promise that a measurement is never repeated in vain."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.workflow.tree import Tree

JUDGED = {"check_evidence": 1, "summarise": 1, "render_report": 1}
JUDGED |= {"collect_compliance": 1, "check_compliance": 1}

FURTHER_INSTANCE = "local\tother\t1\t512\t1\t256\t-\ta second machine\n"
EDIT = "# edited\n"

Edits = list[tuple[str, tuple[str, str] | None]]  # file, what is replaced (None: a line is added)

# Two tiers, three repetitions.
CASES: dict[str, tuple[Edits, dict[str, int]]] = {
    "nothing": ([], {}),
    "enclave": ([("enclave/serve.py", None)], {"build_image": 1, "measure_tier": 6, **JUDGED}),
    "probe_of_tier_1": ([("bench/probes/boot.py", None)], {"measure_tier": 3, **JUDGED}),
    "probe_of_tier_4": ([("bench/probes/handshake.py", None)], {"measure_tier": 3, **JUDGED}),
    "boots_of_tier_4": (
        [("config/config.yaml", ("security_boots: 2", "security_boots: 3"))],
        {"measure_tier": 3, **JUDGED},
    ),
    "statistics": (
        [("bench/analysis/stats.py", None)],
        {"summarise": 1, "render_report": 1},
    ),
    "title_of_a_metric": (
        [("config/metrics.tsv", ("Cold start:", "Start from cold:"))],
        {"summarise": 1, "render_report": 1},
    ),
    "title_of_a_model": ([("config/models.tsv", ("\tall-MiniLM-L6-v2\t", "\tMiniLM\t"))], {}),
    "band_of_a_verdict": (
        [("config/verdicts.tsv", ("excellent", "superb"))],
        {"summarise": 1, "render_report": 1},
    ),
    "new_instance": (
        [
            ("config/instances.tsv", ("local\t", f"{FURTHER_INSTANCE}local\t")),
            ("config/config.yaml", ("[laptop-2vcpu]", "[laptop-2vcpu, other]")),
        ],
        {"measure_tier": 6, **JUDGED},
    ),
    "row_that_nobody_chose": (
        [("config/instances.tsv", ("local\t", f"{FURTHER_INSTANCE}local\t"))],
        {},
    ),
    "purpose_of_an_instance": (
        [("config/instances.tsv", ("any Linux machine", "some Linux machine"))],
        {},
    ),
    "one_more_repetition": (
        [("config/config.yaml", ("repetitions: 3", "repetitions: 4"))],
        {"measure_tier": 2, **JUDGED},
    ),
    "page": ([("report/report.qmd", None)], {"render_report": 1}),
    # Costs are not computed yet, so nothing reads a price.
    "price": ([("config/prices/2026-11-22.json", ("0.192", "0.193"))], {}),
}


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    """A tree in which everything has been made once."""
    tree = Tree.make(tmp_path_factory.mktemp("repository"))
    tree.finish()
    return tree


@pytest.mark.parametrize("case", CASES)
def test_a_change_reruns_what_depends_on_it_and_nothing_else(finished: Tree, case: str) -> None:
    edits, expected = CASES[case]
    with ExitStack() as stack:
        for name, change in edits:
            text = (finished.root / name).read_text()
            old, new = change or (text, text + EDIT)
            stack.enter_context(finished.edited(name, old, new))
        assert finished.planned() == expected


def test_touching_every_file_reruns_nothing(finished: Tree) -> None:
    for name in ("Snakefile", "bench", "config", "enclave", "report", "rules", "scripts"):
        place = finished.root / name
        for path in place.rglob("*") if place.is_dir() else [place]:
            os.utime(path)
    assert finished.planned() == {}


def test_a_changed_model_row_is_fetched_sealed_and_measured_again(finished: Tree) -> None:
    with finished.edited("config/models.tsv", "minilm\t0.1.0", "minilm\t0.1.1"):
        planned = finished.planned()
    assert planned == {"fetch_model": 1, "seal_model": 1, "measure_tier": 6, **JUDGED}


def test_archived_records_are_judged_without_being_made(finished: Tree, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(
        finished.root, clone, symlinks=True, ignore=shutil.ignore_patterns(".snakemake", "summary")
    )
    assert Tree(clone).planned("--config", "records=archived") == JUDGED


def test_absent_archived_records_are_named(finished: Tree, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(
        finished.root, clone, symlinks=True, ignore=shutil.ignore_patterns(".snakemake", "rep2")
    )
    done = Tree(clone).snakemake("all", "-n", "--config", "records=archived")
    assert done.returncode != 0
    assert "results/records/local/laptop-2vcpu/minilm/rep2/tier1.jsonl" in done.stdout
