"""Jobs: which there are, what each is told, and what is wrong with what was asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

import pytest
import yaml
from snakemake.utils import update_config

from bench import catalogue, jobs, plan
from bench.jobs import Jobs
from bench.probes import Workload
from bench.tables import ConfigError

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config"
METRICS = catalogue.read(CONFIG / "metrics.tsv")


@dataclass(frozen=True)
class Asked:
    """Wildcards as Snakemake gives them: text."""

    model: str = "minilm"
    tier: str = "1"
    rep: str = "1"
    instance: str = "laptop-2vcpu"
    platform: str = "local"


def merged(**settings: object) -> dict[str, Any]:
    """config.yaml with some settings said otherwise, and records that need no machine."""
    return {
        **yaml.safe_load((CONFIG / "config.yaml").read_text()),
        "records": "archived",
        **settings,
    }


def read(**settings: object) -> Jobs:
    return jobs.read(merged(**settings), [CONFIG / "config.yaml"], CONFIG)


TWO = {"minilm": {"tiers": [1, 4]}, "distilbert-seeded": {"tiers": [1], "boots": 2, "blocks": 9}}


@pytest.mark.parametrize("further", [None, "small.yaml", "aws.yaml", "gcp.yaml"])
def test_shipped_settings_have_jobs(further: str | None) -> None:
    names = ["config.yaml", *([further] if further else [])]
    config: dict[str, Any] = {}
    for name in names:
        update_config(config, yaml.safe_load((CONFIG / name).read_text()))  # as snakemake does
    config["records"] = "archived"
    assert jobs.read(config, [CONFIG / name for name in names], CONFIG).cells()


def test_there_is_a_job_for_every_instance_model_repetition_and_tier_of_the_model() -> None:
    cells = read(models=TWO, repetitions=3).cells()
    assert len(set(cells)) == len(cells) == 3 * (2 + 1)
    assert {cell.repetition for cell in cells} == {1, 2, 3}
    assert {(cell.model, cell.tier) for cell in cells} == {
        ("minilm", 1),
        ("minilm", 4),
        ("distilbert-seeded", 1),
    }
    assert cells[0].file("jsonl") == "results/records/local/laptop-2vcpu/minilm/rep1/tier1.jsonl"


def test_a_models_own_setting_goes_before_that_of_all_models() -> None:
    found = read(models=TWO, boots=4, blocks=50)
    own, other = Asked(model="distilbert-seeded"), Asked()
    assert [found.job(asked)["boots"] for asked in (own, other)] == [2, 4]
    assert [found.workload(asked)["blocks"] for asked in (own, other)] == [9, 50]


def read_from_workload(text: str) -> list[str]:
    """Settings that a probe's text reads, by `bed.workload` or by another name for it."""
    names = "|".join(["workload", *re.findall(r"(\w+) = bed\.workload$", text, re.MULTILINE)])
    return re.findall(rf"\b(?:{names})\.(\w+)", text)


def test_a_tier_is_told_only_the_settings_that_its_probes_read() -> None:
    """What a tier lists too much reruns it in vain; what it lists too little stays empty."""
    for tier, listed in plan.WORKLOAD.items():
        probes = {metric.probe for metric in METRICS if metric.tier == tier} - {""}
        texts = [(ROOT / "bench" / "probes" / f"{name}.py").read_text() for name in probes]
        told = {setting for text in texts for setting in read_from_workload(text)}
        assert told == set(listed), tier


def test_every_setting_of_a_boot_has_a_field_and_can_be_a_models_own() -> None:
    listed = {name for names in plan.WORKLOAD.values() for name in names}
    schema = yaml.safe_load((CONFIG / "config.schema.yaml").read_text())
    assert listed == {field.name for field in fields(Workload)}
    assert listed | set(plan.BOOTS.values()) == set(schema["$defs"]["workload"])
    assert set(schema["required"]) == set(schema["properties"])


def test_one_model_that_is_left_out_has_no_job() -> None:
    found = read(models=TWO | {"minilm": {"tiers": []}})
    assert {cell.model for cell in found.cells()} == {"distilbert-seeded"}
    assert found.bundles() == ["results/compliance/local/laptop-2vcpu/distilbert-seeded.cbor"]
    assert found.manifests() == ["results/models/distilbert-seeded/local/manifest.cose"]


@pytest.mark.parametrize(
    ("models", "field", "found", "expected"),
    [
        pytest.param("maxilm: {tiers: [1]}", "models", "maxilm", "a row in", id="no_such_model"),
        pytest.param(
            "minilm: {tiers: [6]}", "models.minilm.tiers.0", 6, "one of", id="no_such_tier"
        ),
        pytest.param("minilm: {tiers: []}", "models", "no tier in any", "a model", id="nothing"),
        pytest.param(
            "minilm: {tiers: [1], bots: 2}", "models.minilm.bots", 2, "one of the", id="misspelt"
        ),
        pytest.param(
            "minilm: {tiers: [1], seed: 2}", "models.minilm.seed", 2, "one of the", id="not_its_own"
        ),
        pytest.param(
            "minilm: {tiers: [1], boots: 0}", "models.minilm.boots", 0, "at least 1", id="too_few"
        ),
    ],
)
def test_what_is_wrong_with_a_model_is_named(
    tmp_path: Path, models: str, field: str, found: object, expected: str
) -> None:
    path = tmp_path / "over.yaml"
    path.write_text(f"models:\n  {models}\n")
    config = merged(**yaml.safe_load(path.read_text()))
    with pytest.raises(ConfigError) as caught:
        jobs.read(config, [CONFIG / "config.yaml", path], CONFIG)
    error = caught.value
    assert (error.path, error.field, error.found) == (str(path), field, found)
    assert error.line == (None if field == "models" and found != "maxilm" else 2)
    assert expected in str(error.expected)


def test_models_are_a_map() -> None:
    with pytest.raises(ConfigError, match=r"field models: found \['minilm'\], expected map"):
        read(models=["minilm"])


def test_a_model_without_tiers_is_told_that_it_needs_them() -> None:
    with pytest.raises(ConfigError, match=r"field models\.minilm\.tiers: found None, expected a v"):
        read(models={"minilm": {}})


def test_a_tier_that_measures_nothing_of_a_models_kind_is_refused(tmp_path: Path) -> None:
    metrics = [row for row in METRICS if row.tier != 4]
    found = Jobs(merged(models=TWO), metrics, (), (), plan.models(CONFIG / "models.tsv")[:1])
    with pytest.raises(ConfigError, match=r"field models\.minilm\.tiers: found 4, expected a tier"):
        jobs._require_tiers(found, [CONFIG / "config.yaml"])


def test_an_unknown_instance_is_refused_with_those_there_are() -> None:
    with pytest.raises(ConfigError, match=r"found 'desktop', expected a row of platform local .*"):
        read(instances=["desktop"])


def test_an_instance_of_another_platform_is_not_chosen() -> None:
    with pytest.raises(ConfigError, match=r"found 'c6i\.xlarge', expected a row of platform local"):
        read(instances=["c6i.xlarge"])
