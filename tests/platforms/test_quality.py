"""Tier 3 on the local platform, with a tiny model whose weights are seeded."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest

from bench import records
from bench.analysis import evidence, sheets, summary
from bench.measure.job import Job
from bench.platforms import local
from bench.probes import Workload, determinism, embedding
from bench.probes.letters import CLASSES, TRAINING
from tests.platforms.conftest import measured

CONFIG = Path(__file__).parents[2] / "config"
REPEATS, BOOTS = 3, 2


@pytest.fixture(scope="module")
def answers(machine: local.Machine, tmp_path_factory: pytest.TempPathFactory) -> Job:
    """Two boots of the encoder's probes."""
    folder = tmp_path_factory.mktemp("quality")
    probes = ["embedding", "determinism"]
    return measured(machine, folder, 3, BOOTS, probes, Workload(repeats=REPEATS))


@pytest.fixture(scope="module")
def quality(answers: Job) -> pd.DataFrame:
    """The rows that are made of them."""
    out = answers.records.parent / "summary"
    summary.summarise(
        [answers.records],
        CONFIG / "metrics.tsv",
        CONFIG / "verdicts.tsv",
        out,
        models=CONFIG / "models.tsv",
    )
    return sheets.read(out, "quality").set_index(["quantity", "compared"])


def test_every_probe_of_an_encoder_says_what_it_declares(answers: Job) -> None:
    found = {observation.metric for observation in records.read(answers.records).observations}
    assert found == {*determinism.METRICS, *embedding.METRICS}


def test_the_same_code_and_weights_answer_the_same_bytes(quality: pd.DataFrame) -> None:
    texts = len(determinism.TEXTS)
    expected = {
        ("answers", "one session"): 2 * BOOTS * (REPEATS - 1),
        ("answers", "restarts"): 2 * (BOOTS - 1) * texts,
        ("answers", "enclave/plain"): BOOTS * (texts + REPEATS - 1),
        ("starts that gave the same answers", "restarts"): 2 * (BOOTS - 1),
    }
    for place, n in expected.items():
        assert (quality.loc[place, "equal"], quality.loc[place, "n"]) == (n, n), place


def test_seeded_weights_agree_and_have_no_accuracy(quality: pd.DataFrame) -> None:
    testing = sum(map(len, CLASSES.values())) - 4 * TRAINING
    same = quality.loc["same class", "enclave/plain"]
    assert (same["equal"], same["n"]) == (BOOTS * testing, BOOTS * testing)
    for side in ("plain", "enclave"):
        row = quality.loc["accuracy", side]
        assert row["status"] == "not given"
        assert pd.isna(row["value"])


def test_raw_answers_are_counted_and_not_averaged(answers: Job, quality: pd.DataFrame) -> None:
    metrics = sheets.read(answers.records.parent / "summary", "metrics")
    digests = metrics[metrics["metric"] == "output_digest"]
    assert digests["statistic"].to_list() == ["recorded", "recorded"]
    assert digests["n"].sum() == 2 * BOOTS * (len(determinism.TEXTS) + REPEATS - 1)


def test_every_answer_has_its_receipt(answers: Job, files: local.Files) -> None:
    (row,) = evidence.check_all(
        records=[answers.records],
        evidence=[answers.evidence],
        measurements=files.measurements,
        manifests=[files.sealed / "manifest.cose"],
        authority=files.state / "public.json",
    )
    letters = sum(map(len, CLASSES.values()))
    assert row.receipts == BOOTS * (letters + len(determinism.TEXTS) + REPEATS - 1)


def test_a_side_that_answers_otherwise_is_found(answers: Job, tmp_path: Path) -> None:
    """The same records but for one digest of the enclave's in the second boot."""
    kept = records.read(answers.records)
    at = next(
        n
        for n, seen in enumerate(kept.observations)
        if (seen.metric, seen.side, seen.boot) == ("output_digest", "enclave", 1)
    )
    changed = list(kept.observations)
    changed[at] = replace(changed[at], value=changed[at].value + 1)
    path = tmp_path / "tier3.jsonl"
    records.write(path, kept.context, map(records.encode, changed))
    tables = CONFIG / "metrics.tsv", CONFIG / "verdicts.tsv"
    summary.summarise([path], *tables, tmp_path, models=CONFIG / "models.tsv")
    found = sheets.read(tmp_path, "quality").set_index(["quantity", "compared"])
    short = found["n"] - found["equal"]
    assert short[short > 0].to_dict() == {
        ("answers", "restarts"): 1,
        ("answers", "enclave/plain"): 1,
        ("starts that gave the same answers", "restarts"): 1,
    }
