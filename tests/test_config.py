"""Settings and tables: what ships is right, and what is wrong is named."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
import yaml

from bench import plan, settings
from bench.plan import Instance, Machine
from bench.tables import ConfigError

ROOT = Path(__file__).parents[1]
CONFIG = ROOT / "config"
SCHEMA = CONFIG / "config.schema.yaml"
INSTANCE = "local\tlaptop\t2\t4096\t2\t2048\tc6i.xlarge\tany\n"
DIGEST = "0" * 64


def shipped(*files: str) -> dict[str, object]:
    """Settings as Snakemake merges them: later files win."""
    merged: dict[str, object] = {}
    for name in files:
        merged |= yaml.safe_load((CONFIG / name).read_text())
    return merged


def with_setting(folder: Path, name: str, line: str) -> tuple[dict[str, object], Path, int]:
    """config.yaml with one setting said otherwise: the settings, the file, the line."""
    lines = (CONFIG / "config.yaml").read_text().splitlines()
    at = next(number for number, text in enumerate(lines) if text.startswith(f"{name}:"))
    lines[at] = line
    path = folder / "config.yaml"
    path.write_text("\n".join(lines))
    return yaml.safe_load(path.read_text()), path, at + 1


@pytest.mark.parametrize("further", [(), ("small.yaml",), ("aws.yaml",), ("gcp.yaml",)])
def test_shipped_settings_are_right(further: tuple[str, ...]) -> None:
    files = ("config.yaml", *further)
    config = shipped(*files)
    settings.check(config, SCHEMA, [CONFIG / name for name in files])


def test_every_setting_is_described() -> None:
    properties = yaml.safe_load(SCHEMA.read_text())["properties"]
    assert set(properties) == set(shipped("config.yaml"))
    assert all(len(rule["description"]) > 10 for rule in properties.values())


@pytest.mark.parametrize(
    ("name", "line", "field", "found", "expected"),
    [
        pytest.param("boots", "boots: 0", "boots", 0, "at least 1", id="too_small"),
        pytest.param("boots", "boots: '4'", "boots", "4", "integer", id="text_for_a_number"),
        pytest.param("tokens", "tokens: [8, 900]", "tokens.1", 900, "at most 512", id="too_long"),
        pytest.param("tokens", "tokens: []", "tokens", [], "at least 1 of them", id="nothing"),
        pytest.param("tokens", "tokens: [8, 8]", "tokens", [8, 8], "no value twice", id="twice"),
        pytest.param(
            "platform", "platform: azure", "platform", "azure", "one of local", id="no_platform"
        ),
        pytest.param(
            "require_isolation",
            "require_isolation: yes",
            "require_isolation",
            True,
            "one of null, bwrap",
            id="yes_is_no_isolation",
        ),
        pytest.param("seed", "sead: 1", "sead", 1, "one of the settings", id="misspelt"),
    ],
)
def test_a_wrong_setting_is_named_with_its_line(
    tmp_path: Path, name: str, line: str, field: str, found: object, expected: str
) -> None:
    config, path, number = with_setting(tmp_path, name, line)
    with pytest.raises(ConfigError) as caught:
        settings.check(config, SCHEMA, [path])
    error = caught.value
    assert (error.path, error.line, error.field) == (str(path), number, field)
    assert error.found == found
    assert expected in str(error.expected)


def test_a_missing_setting_is_named(tmp_path: Path) -> None:
    config, path, _ = with_setting(tmp_path, "seed", "")
    with pytest.raises(ConfigError, match="field seed: found None, expected a value"):
        settings.check(config, SCHEMA, [path])


def test_of_two_files_the_one_that_says_it_is_named(tmp_path: Path) -> None:
    over = tmp_path / "over.yaml"
    over.write_text("# another\nblocks: 0\n")
    config = shipped("config.yaml") | {"blocks": 0}
    with pytest.raises(ConfigError, match=re.escape(f"{over}, line 2, field blocks")):
        settings.check(config, SCHEMA, [CONFIG / "config.yaml", over])


def test_a_wrong_setting_of_the_command_line_is_told_from_one_in_a_file() -> None:
    config = shipped("config.yaml") | {"blocks": 0}
    with pytest.raises(ConfigError, match=r"^--config, field blocks: found 0"):
        settings.check(config, SCHEMA, [CONFIG / "config.yaml"])


def test_a_setting_said_twice_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "config.yaml"
    path.write_text((CONFIG / "config.yaml").read_text() + "boots: 5\n")
    with pytest.raises(ConfigError, match="field boots: found 'boots', expected a name of its own"):
        settings.check(yaml.safe_load(path.read_text()), SCHEMA, [path])


@pytest.mark.parametrize(
    ("row", "field"),
    [
        pytest.param("azure\tx\t2\t4096\t2\t2048\t-\tany\n", "platform", id="no_such_platform"),
        pytest.param("local\tA b\t2\t4096\t2\t2048\t-\tany\n", "instance", id="no_folder_name"),
        pytest.param("local\tx\ttwo\t4096\t2\t2048\t-\tany\n", "vcpus", id="no_number"),
        pytest.param("local\tx\t0\t4096\t2\t2048\t-\tany\n", "vcpus", id="no_cpu"),
        pytest.param("local\tx\t2\t4096\t3\t2048\t-\tany\n", "enclave_vcpus", id="part_too_big"),
        pytest.param(
            "local\tx\t2\t4096\t2\t8192\t-\tany\n", "enclave_memory_mib", id="enclave_too_big"
        ),
    ],
)
def test_a_wrong_instance_is_named(tmp_path: Path, row: str, field: str) -> None:
    path = tmp_path / "instances.tsv"
    path.write_text("\t".join(plan.INSTANCE_COLUMNS) + "\n# a remark\n" + row)
    with pytest.raises(ConfigError) as caught:
        plan.instances(path)
    assert (caught.value.line, caught.value.field) == (3, field)


@pytest.mark.parametrize(
    ("cells", "field"),
    [
        pytest.param({"source": "disk"}, "source", id="no_such_source"),
        pytest.param({"locator": "package"}, "locator", id="package_without_a_version"),
        pytest.param({"source": "hub", "locator": "a/b@main"}, "locator", id="hub_at_a_branch"),
        pytest.param({"sha256": "0" * 63}, "sha256", id="short_digest"),
        pytest.param({"sha256": "-"}, "sha256", id="package_without_a_digest"),
        pytest.param({"seed": "1"}, "seed", id="package_with_a_seed"),
        pytest.param({"model": "Mini LM"}, "model", id="no_folder_name"),
        pytest.param({"precision": "fp16"}, "precision", id="no_such_precision"),
        pytest.param({"architecture": "mamba"}, "architecture", id="no_such_architecture"),
        pytest.param({"license": "-"}, "license", id="no_license"),
        pytest.param(
            {"source": "seeded", "seed": "1", "config": "a=1"}, "sha256", id="seeded_with_a_digest"
        ),
        pytest.param(
            {"source": "seeded", "sha256": "-", "config": "a=1"}, "seed", id="seeded_without_a_seed"
        ),
        pytest.param(
            {"source": "seeded", "sha256": "-", "seed": "1"}, "config", id="seeded_without_a_shape"
        ),
        pytest.param(
            {"source": "trained", "locator": "-", "sha256": "-", "config": "a=1"},
            "seed",
            id="trained_without_a_seed",
        ),
        pytest.param(
            {"source": "trained", "locator": "n", "sha256": "-", "seed": "1"},
            "seed",
            id="trained_twice",
        ),
        pytest.param(
            {"source": "trained", "locator": "n", "sha256": "-"},
            "locator",
            id="trained_as_a_model_that_is_not_there",
        ),
    ],
)
def test_a_wrong_model_is_named(tmp_path: Path, cells: dict[str, str], field: str) -> None:
    right = dict(
        zip(
            plan.MODEL_COLUMNS,
            ("m", "1", "bert", "package", "p==1", DIGEST, "-", "-", "fp32", "M", "MIT"),
            strict=True,
        )
    )
    path = tmp_path / "models.tsv"
    header = "\t".join(plan.MODEL_COLUMNS)
    path.write_text(f"{header}\n" + "\t".join(right.values()) + "\n")
    assert plan.models(path)[0].identity() == {k: v for k, v in right.items() if k != "title"}
    path.write_text(f"{header}\n" + "\t".join((right | cells).values()) + "\n")
    with pytest.raises(ConfigError) as caught:
        plan.models(path)
    assert (caught.value.line, caught.value.field) == (2, field)


def test_floats_are_shared_with_a_model_that_was_trained_itself(tmp_path: Path) -> None:
    path = tmp_path / "models.tsv"
    own = ("a", "1", "llama", "trained", "-", "-", "7", "x=1", "fp32", "A", "MIT")
    coarse = ("b", "1", "llama", "trained", "a", "-", "-", "-", "q4", "B", "MIT")
    rows = ["\t".join(row) for row in (plan.MODEL_COLUMNS, coarse, own)]
    path.write_text("\n".join(rows) + "\n")
    assert [(model.model, model.shared) for model in plan.models(path)] == [("b", "a"), ("a", "")]
    path.write_text("\n".join([*rows, "\t".join(("c", *coarse[1:4], "b", *coarse[5:]))]) + "\n")
    with pytest.raises(ConfigError, match=r"line 4, field locator: found 'b'.*trained: a"):
        plan.models(path)


def test_a_machine_too_small_is_told_what_it_lacks() -> None:
    instance = Instance("local", "laptop", 2, 4096, 2, 2048, "", "")
    assert plan.fits(instance, Machine(2, 4096)) == ()
    assert plan.fits(instance, Machine(1, 4000)) == (
        "2 CPUs (here: 1)",
        "4096 MiB of memory (here: 4000)",
    )
    with pytest.raises(ConfigError, match=r"2 CPUs \(here: 1\)"):
        plan.require_fit([instance], Machine(1, 8192), Path("instances.tsv"))


def test_a_cloud_row_need_not_fit_this_machine() -> None:
    instance = Instance("aws-nitro", "c6i.xlarge", 4, 8192, 2, 1024, "", "")
    plan.require_fit([instance], Machine(1, 512), Path("instances.tsv"))


def test_a_platform_without_code_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="found 'no module bench"):
        plan.require_platform("bench.platforms.moon", CONFIG / "config.yaml", tmp_path)


def test_the_specifications_machines_are_rows() -> None:
    rows = {
        (row.instance, row.vcpus, row.memory_mib, row.enclave_vcpus, row.enclave_memory_mib)
        for row in plan.instances(CONFIG / "instances.tsv")
    }
    assert {
        ("c6i.xlarge", 4, 8192, 2, 1024),
        ("m6i.xlarge", 4, 16384, 2, 2048),
        ("c6i.2xlarge", 8, 16384, 4, 4096),
    } <= rows
