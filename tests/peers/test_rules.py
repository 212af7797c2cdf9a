"""`make bench` in the workflow: never part of `all`, and what a change in it measures again."""

from __future__ import annotations

import pytest

from tests.workflow.tree import COUNT, Tree

EDIT = "# edited\n"


@pytest.fixture(scope="module")
def finished(tmp_path_factory: pytest.TempPathFactory) -> Tree:
    tree = Tree.make(tmp_path_factory.mktemp("repository"))
    done = tree.snakemake("bench")
    assert done.returncode == 0, done.stdout
    return tree


def planned(tree: Tree, target: str) -> dict[str, int]:
    done = tree.snakemake(target, "--dry-run")
    assert done.returncode == 0, done.stdout
    table = done.stdout.partition("Job stats:")[2].partition("\n\n")[0]
    counts = {rule: int(count) for rule, count in COUNT.findall(table)}
    return {rule: counts[rule] for rule in counts if rule not in ("all", "total")}


def test_nothing_of_it_is_part_of_everything(finished: Tree) -> None:
    assert not planned(finished, "all").keys() & {"bench", "measure_peers", "convert_model"}


@pytest.mark.parametrize(
    ("name", "old", "new", "expected"),
    [
        ("config/goals.tsv", "\t1.4\t", "\t1.5\t", {"bench": 1}),
        ("config/goals.tsv", "Forward pass, float32", "Forward", {"bench": 1}),
        ("bench/analysis/ratios.py", "from __future__", f"{EDIT}from __future__", {"bench": 1}),
        (
            "bench/peers/openvino.py",
            "from __future__",
            f"{EDIT}from __future__",
            {"measure_peers": 18, "bench": 1},
        ),
        (
            "envs/peers.lock",
            "# Made",
            f"{EDIT}# Made",
            {"convert_model": 2, "measure_peers": 18, "bench": 1},
        ),
    ],
    ids=["goal", "title", "judgement", "engine", "versions"],
)
def test_only_what_depends_on_a_change_runs_again(
    finished: Tree, name: str, old: str, new: str, expected: dict[str, int]
) -> None:
    assert planned(finished, "bench") == {}
    with finished.edited(name, old, new):
        assert planned(finished, "bench") == expected
