"""What runs again after which change: the promise that a measurement is never repeated in vain."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from pathlib import Path

import pytest

from tests.workflow.tree import Tree

JUDGED = {"check_evidence": 1, "summarise": 1, "render_report": 1}
JUDGED |= {"collect_compliance": 1, "check_compliance": 1, "calculate_costs": 1}
JUDGED |= {"check_completeness": 1}
EVERY = JUDGED | {"collect_compliance": 2}  # one for each model
COSTED = {"calculate_costs": 1, "check_completeness": 1, "render_report": 1}
IMPORTED = {"import_published": 1, "render_report": 1}

FURTHER_INSTANCE = "local\tother\t1\t512\t1\t256\t-\ta second machine\n"
EDIT = "# edited\n"

Edits = list[tuple[str, tuple[str, str] | None]]  # file, what is replaced (None: a line is added)

# MiniLM in two tiers and DistilBERT in one of them, three repetitions.
CASES: dict[str, tuple[Edits, dict[str, int]]] = {
    "nothing": ([], {}),
    "enclave": ([("enclave/serve.py", None)], {"build_image": 1, "measure_tier": 9, **EVERY}),
    "probe_of_tier_1": ([("bench/probes/boot.py", None)], {"measure_tier": 6, **EVERY}),
    "probe_of_tier_4": ([("bench/probes/handshake.py", None)], {"measure_tier": 3, **JUDGED}),
    "boots_of_tier_4": (
        [("config/config.yaml", ("security_boots: 2", "security_boots: 3"))],
        {"measure_tier": 3, **JUDGED},
    ),
    "setting_of_tier_4": (
        [("config/config.yaml", ("security_blocks: 31", "security_blocks: 32"))],
        {"measure_tier": 3, **JUDGED},
    ),
    "own_setting_of_a_model": (
        [("config/config.yaml", ("seeded: {tiers", "seeded: {round_trips: 9, tiers"))],
        {"measure_tier": 3, **JUDGED},
    ),
    "tier_of_a_model": (
        [("config/config.yaml", ("tiers: [1, 4]", "tiers: [4]"))],
        JUDGED,
    ),
    "statistics": (
        [("bench/analysis/stats.py", None)],
        {"summarise": 1, **COSTED, **IMPORTED},
    ),
    "title_of_a_metric": (
        [("config/metrics.tsv", ("Cold start:", "Start from cold:"))],
        {"summarise": 1, **COSTED, **IMPORTED},
    ),
    "title_of_a_model": (
        [("config/models.tsv", ("\tall-MiniLM-L6-v2\t", "\tMiniLM\t"))],
        {"summarise": 1, **COSTED},
    ),
    "band_of_a_verdict": (
        [("config/verdicts.tsv", ("excellent", "superb"))],
        {"summarise": 1, **COSTED},
    ),
    "new_instance": (
        [
            ("config/instances.tsv", ("local\t", f"{FURTHER_INSTANCE}local\t")),
            ("config/config.yaml", ("[laptop-2vcpu]", "[laptop-2vcpu, other]")),
        ],
        {"measure_tier": 9, **EVERY},
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
        {"measure_tier": 3, **EVERY},
    ),
    "page": ([("report/report.qmd", None)], {"render_report": 1}),
    "price": ([("config/prices/2026-11-22.json", ("0.192", "0.193"))], COSTED),
    "utilisation": ([("config/config.yaml", ("[1, 0.5, 0.1]", "[1, 0.2]"))], COSTED),
    "published_figure_of_a_gpu": ([("config/gpu.tsv", ("13.9665", "13.9666"))], COSTED),
    "published_result": (
        [("config/published/multimodel-20260205/minilm-l6_run1/baseline_results.json", None)],
        IMPORTED,
    ),
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
    assert Tree(clone).planned("--config", "records=archived") == {**EVERY, **IMPORTED}


def test_absent_archived_records_are_named(finished: Tree, tmp_path: Path) -> None:
    clone = tmp_path / "clone"
    shutil.copytree(
        finished.root, clone, symlinks=True, ignore=shutil.ignore_patterns(".snakemake", "rep2")
    )
    done = Tree(clone).snakemake("all", "-n", "--config", "records=archived")
    assert done.returncode != 0
    assert "results/records/local/laptop-2vcpu/minilm/rep2/tier1.jsonl" in done.stdout
