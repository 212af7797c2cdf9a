"""The plan: tables to rows, one row for each machine and each model there is to choose from.

Rules import this at parse time, so that a mistake in a table costs seconds and not an instance.
Plain maps go into Snakemake's params (`asdict`), because it compares those by content.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from bench.tables import ABSENT, ConfigError, Row, read

INSTANCE_COLUMNS = (
    "platform",
    "instance",
    "vcpus",
    "memory_mib",
    "enclave_vcpus",
    "enclave_memory_mib",
    "priced_as",
    "purpose",
)
MODEL_COLUMNS = (
    "model",
    "version",
    "architecture",
    "source",
    "locator",
    "sha256",
    "seed",
    "config",
    "precision",
    "title",
    "license",
)
# What one boot measures, by tier: the settings that its probes read from `bed.workload`. A change
# in one reruns the tiers that list it. A new one is a word here, a field of `probes.Workload`, a
# line in config.yaml and one in the schema's `workload`; a model may then have its own.
WORKLOAD = {
    1: (
        *("tokens", "blocks", "warmup", "sessions", "load_requests"),
        *("payload_bytes", "round_trips", "scaling_tokens", "scaling_blocks"),
        *("load_sessions", "loads", "arrivals", "load_seconds", "slo_ms"),
        *("prompt_tokens", "new_tokens", "generations"),
    ),
    3: ("repeats", "quality_texts", "continuation_tokens"),
    4: ("tokens", "warmup", "security_blocks", "padding"),
    5: (
        *("tokens", "warmup", "load_sessions", "long_requests"),
        *("saturation_quantile", "saturation_steps", "saturation_seconds"),
        *("stress_sessions", "stress_seconds", "churn_seconds", "fault_seconds"),
        *("ladder_memory_mib", "ladder_seconds"),
    ),
}
# Which setting says how many boots a repetition of a tier has.
BOOTS = {1: "boots", 3: "quality_boots", 4: "security_boots", 5: "stress_boots"}
# Settings that are the servers' own.
SERVING = ("device", "batch", "session_seconds", "response_bucket_bytes")
PLATFORMS = ("local", "aws-nitro", "gcp-confidential-space")
# What the catalogue's column `models` calls an architecture.
KINDS = {"bert": "encoder", "distilbert": "encoder", "llama": "generator"}
SOURCES = ("package", "hub", "seeded", "trained")
PRECISIONS = ("fp32", "bf16", "q8", "q4")
LOCATORS = {
    "package": (re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+"), "name==version"),
    "hub": (re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}"), "owner/name@revision, 40 hex digits"),
    "seeded": (re.compile(r"-|[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+"), "the tokenizer's package or -"),
    "trained": (re.compile(r"-|[a-z0-9][a-z0-9.-]*"), "the row of the same floats, or -"),
}
DIGEST = r"(?:[a-z0-9_.-]+=)?[0-9a-f]{64}"
DIGESTS = re.compile(rf"{DIGEST}(?:,{DIGEST})*")
DIMENSIONS = re.compile(r"[a-z_]+=[0-9][0-9.e-]*(?: [a-z_]+=[0-9][0-9.e-]*)*")
NAME = re.compile(r"[a-z0-9][a-z0-9.-]*")


@dataclass(frozen=True, slots=True)
class Instance:
    """A machine to measure on, and what an enclave on it gets."""

    platform: str
    instance: str
    vcpus: int
    memory_mib: int
    enclave_vcpus: int
    enclave_memory_mib: int
    priced_as: str
    purpose: str

    def shape(self) -> dict[str, int]:
        """What an enclave on it gets; neither price nor purpose decides a measurement."""
        return {"vcpus": self.enclave_vcpus, "memory_mib": self.enclave_memory_mib}


@dataclass(frozen=True, slots=True)
class Model:
    """A model to serve, its cells as they stand in the table and checked for their form.

    `sha256` pins its files. One that is made here, seeded or trained, has a seed and dimensions in
    its stead; or its locator names the row of a trained one that it shares the floats of.
    """

    model: str
    version: str
    architecture: str
    source: str
    locator: str
    sha256: str
    seed: str
    config: str
    precision: str
    title: str
    license: str

    @property
    def kind(self) -> str:
        """What the catalogue calls models of its architecture."""
        return KINDS[self.architecture]

    @property
    def shared(self) -> str:
        """The model whose floats it is made of; none where it has its own."""
        return self.locator if self.source == "trained" and self.locator != ABSENT else ""

    def identity(self) -> dict[str, str]:
        """What decides its files: everything but how it is called in print."""
        fields = asdict(self)
        return {name: fields[name] for name in fields if name != "title"}


@dataclass(frozen=True, slots=True)
class Machine:
    """What this machine has to give."""

    vcpus: int
    memory_mib: int


def instances(path: Path) -> list[Instance]:
    """Rows of config/instances.tsv; ConfigError names the cell that is wrong."""
    return [_instance(row) for row in read(path, INSTANCE_COLUMNS, key=("platform", "instance"))]


def models(path: Path) -> list[Model]:
    """Rows of config/models.tsv; ConfigError names the cell that is wrong."""
    rows = read(path, MODEL_COLUMNS, key=("model",))
    found = [_model(row) for row in rows]
    trained = [model.model for model in found if model.source == "trained" and model.seed != ABSENT]
    for row, model in zip(rows, found, strict=True):
        if model.shared and model.shared not in trained:
            raise row.error("locator", expected=f"a model that is trained: {', '.join(trained)}")
    return found


def require_platform(module: str, config: Path, root: Path = Path()) -> None:
    """ConfigError where the platform has rows in the tables but no code yet."""
    if not root.joinpath(*module.split(".")).with_suffix(".py").is_file():
        raise ConfigError(
            config,
            None,
            "platform",
            found=f"no module {module}",
            expected="a platform that has one",
            hint="this platform is not built yet; `platform: local` runs anywhere",
        )


def this_machine() -> Machine:
    """CPUs this process may use and memory, as the kernel tells them."""
    memory_bytes = os.sysconf("SC_PAGE_SIZE") * os.sysconf("SC_PHYS_PAGES")
    return Machine(len(os.sched_getaffinity(0)), memory_bytes // 2**20)


def fits(instance: Instance, machine: Machine) -> tuple[str, ...]:
    """What a `local` instance row would need that this machine lacks; empty where it fits.

    All sides of a measurement run at the same time, so the whole row has to fit.
    """
    lacks = []
    if machine.vcpus < instance.vcpus:
        lacks.append(f"{instance.vcpus} CPUs (here: {machine.vcpus})")
    if machine.memory_mib < instance.memory_mib:
        lacks.append(f"{instance.memory_mib} MiB of memory (here: {machine.memory_mib})")
    return tuple(lacks)


def require_fit(on: Iterable[Instance], machine: Machine, path: Path) -> None:
    """ConfigError for the first `local` row that this machine cannot hold."""
    for instance in on:
        if lacks := fits(instance, machine) if instance.platform == "local" else ():
            raise ConfigError(
                path,
                None,
                f"instance {instance.instance}",
                found="a machine too small",
                expected=" and ".join(lacks),
                hint="choose another row in config.yaml (instances), or add one that fits",
            )


def _instance(row: Row) -> Instance:
    _check(row, "instance", NAME, "lower case letters, digits, dots and dashes")
    instance = Instance(
        platform=row.one_of("platform", PLATFORMS),
        instance=row.given("instance"),
        vcpus=row.integer("vcpus", least=1),
        memory_mib=row.integer("memory_mib", least=1),
        enclave_vcpus=row.integer("enclave_vcpus", least=1),
        enclave_memory_mib=row.integer("enclave_memory_mib", least=1),
        priced_as=row.text("priced_as"),
        purpose=row.text("purpose"),
    )
    for part, whole in (("enclave_vcpus", "vcpus"), ("enclave_memory_mib", "memory_mib")):
        if getattr(instance, part) > getattr(instance, whole):
            raise row.error(part, expected=f"at most {whole} ({getattr(instance, whole)})")
    return instance


def _model(row: Row) -> Model:
    source = row.one_of("source", SOURCES)
    row.one_of("precision", PRECISIONS)
    row.one_of("architecture", tuple(KINDS))
    _check(row, "model", NAME, "lower case letters, digits, dots and dashes")
    _check(row, "locator", *LOCATORS[source])
    drawn = source == "seeded" or (source == "trained" and not row.text("locator"))
    published = source in ("package", "hub")
    if drawn:
        row.integer("seed")
        _check(row, "config", DIMENSIONS, "name=number words")
    if published:
        _check(row, "sha256", DIGESTS, "64 hex digits of the weights, or file=digest with commas")
    for column, used in (("sha256", published), ("seed", drawn), ("config", drawn)):
        if not used and row.text(column):
            raise row.error(column, expected=f"{ABSENT}, as it is for source {source}")
    for column in ("version", "title", "license"):
        row.given(column)
    return Model(**row.cells)


def _check(row: Row, column: str, pattern: re.Pattern[str], meaning: str) -> None:
    if not pattern.fullmatch(row.cells[column]):
        raise row.error(column, expected=meaning)
