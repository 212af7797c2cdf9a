"""The table of ratios: intervals against goals, floors from rates, and what cannot be said."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from bench import records
from bench.analysis import ratios, roofline, stats
from bench.goals import COLUMNS
from bench.records import Axes, Observation

MINILM = {"hidden_size": 384, "intermediate_size": 1536, "num_hidden_layers": 6}
AT: Axes = (("tokens", 128),)
ALIKE = {"cpus": [0, 1], "threads": 2}


def table(path: Path, *rows: str) -> Path:
    lines = ["\t".join(COLUMNS), *("\t".join(row.split(" ", 10)) for row in rows)]
    path.write_text("\n".join(lines) + "\n")
    return path


def record(path: Path, engines: dict[str, dict[str, object]], *observations: Observation) -> Path:
    context = {"instance": "here", "model": "minilm", "repetition": 1}
    told = {"per_boot": [{"engines": engines}]}
    records.write(path, {**context, **told}, map(records.encode, observations))
    return path


def read(path: Path) -> dict[str, str]:
    """The first ratio of the CSV file."""
    with path.open() as file:
        return next(csv.DictReader(file))


def values(metric: str, side: str, *pairs: tuple[float, float]) -> list[Observation]:
    """One boot a pair, of one mirrored block."""
    return [
        Observation(metric, side, boot, 0, place, value, at=AT)
        for boot, pair in enumerate(pairs)
        for place, value in enumerate(pair)
    ]


def judged(tmp_path: Path, engines: dict[str, dict[str, object]], *rows: Observation) -> str:
    goals = table(
        tmp_path / "goals.tsv",
        "encoder forward minilm tokens=128 ms ours-fp32 openvino-fp32 at_most 0.9 0.5 Forward",
    )
    path = record(tmp_path / "r.jsonl", engines, *rows)
    return ratios.summarise([path], goals, tmp_path / "out" / "ratios.csv")


@pytest.mark.parametrize(
    ("bound", "goal", "verdict"),
    [
        ("at_most", 1.0, "met"),
        ("at_most", 0.95, "MISSED"),
        ("at_most", 0.7, "MISSED"),
        ("at_least", 0.8, "met"),
        ("at_least", 0.9, "MISSED"),
        ("at_most", None, ""),
    ],
)
def test_a_goal_is_met_by_the_whole_interval(bound: str, goal: float | None, verdict: str) -> None:
    assert ratios.judge(stats.Estimate(0.9, 0.8, 1.0, 4, 4), bound, goal) == verdict


def test_ratios_are_formed_inside_blocks_and_stand_beside_their_goals(tmp_path: Path) -> None:
    drifting = [(scale, scale) for scale in (1.0, 2.0, 4.0, 8.0, 1.0, 2.0, 4.0)]
    ours = [(0.8 * one, 0.8 * other) for one, other in drifting]
    text = judged(
        tmp_path,
        {"ours-fp32": ALIKE, "openvino-fp32": ALIKE},
        *values("forward", "ours-fp32", *ours),
        *values("forward", "openvino-fp32", *drifting),
    )
    row = read(tmp_path / "out" / "ratios.csv")
    assert float(row["ratio"]) == pytest.approx(0.8)
    assert (row["verdict"], row["stretch_verdict"], row["boots"]) == ("met", "MISSED", "7")
    assert "≤ 0.9 | met | ≤ 0.5 | MISSED" in text
    assert ratios.page(tmp_path / "out" / "ratios.csv") == text


def test_the_page_says_that_nothing_was_compared(tmp_path: Path) -> None:
    assert ratios.page(tmp_path / "ratios.csv") == "Not measured; `make bench` does.\n"


def test_engines_that_sat_elsewhere_are_not_compared(tmp_path: Path) -> None:
    pairs = [(1.0, 1.0)] * 7
    text = judged(
        tmp_path,
        {"ours-fp32": ALIKE, "openvino-fp32": ALIKE | {"threads": 1}},
        *values("forward", "ours-fp32", *pairs),
        *values("forward", "openvino-fp32", *pairs),
    )
    assert "not comparable" in text
    assert "threads" in text


def test_what_was_not_measured_says_so(tmp_path: Path) -> None:
    text = judged(tmp_path, {"ours-fp32": ALIKE}, *values("forward", "ours-fp32", (1.0, 1.0)))
    assert "not measured" in text


def test_a_ratio_needs_boots(tmp_path: Path) -> None:
    pairs = [(1.0, 1.0)] * 2
    text = judged(
        tmp_path,
        {"ours-fp32": ALIKE, "openvino-fp32": ALIKE},
        *values("forward", "ours-fp32", *pairs),
        *values("forward", "openvino-fp32", *pairs),
    )
    assert "too few" in text


def test_the_work_of_a_forward_pass_is_counted_from_its_dimensions() -> None:
    # 10,616,832 weights in linear layers: 21.23 million operations a token; 9,216 a token and token
    work = roofline.work(MINILM, 128, 1, "fp32")
    assert work.bytes == 4 * 10_616_832
    assert work.operations == 128 * (2 * 10_616_832 + 9_216 * 128)
    assert roofline.work(MINILM, 128, 8, "int8").operations == 8 * work.operations
    renamed = {"dim": 384, "n_layers": 6, "hidden_dim": 1536}
    assert roofline.work(renamed, 128, 1, "fp32") == work
    assert roofline.work(MINILM, 128, 8, "int8").bytes == work.bytes / 4


@pytest.mark.parametrize(
    ("operations", "reads", "floor_ms"),
    [(100.0, 1000.0, 28.68), (1e6, 10.0, 4.247)],
    ids=["compute", "memory"],
)
def test_a_floor_is_the_longer_of_compute_and_memory(
    tmp_path: Path, operations: float, reads: float, floor_ms: float
) -> None:
    pairs, engines = [(1.0, 1.0)] * 7, {"ours-fp32": ALIKE}
    goals = table(
        tmp_path / "goals.tsv",
        "encoder forward minilm tokens=128 ms ours-fp32 roofline-fp32 at_most - - Forward",
    )
    path = record(
        tmp_path / "r.jsonl",
        engines | {"roofline-fp32": {**ALIKE, "dimensions": MINILM}},
        *values("forward", "ours-fp32", *pairs),
        *values("operations_rate", "roofline-fp32", *[(operations, operations)] * 7),
        *values("read_rate", "roofline-fp32", *[(reads, reads)] * 7),
    )
    ratios.summarise([path], goals, tmp_path / "ratios.csv")
    found = read(tmp_path / "ratios.csv")
    assert float(found["of_denominator"]) == pytest.approx(floor_ms, rel=1e-3)
