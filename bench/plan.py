"""The plan: configuration and tables to rows, one row for each thing that is measured.

Rules import this at parse time, so that a mistake in a table costs seconds and not an instance.
Plain maps go into Snakemake's params (`asdict`), because it compares those by content.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import asdict, dataclass
from itertools import product
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
# Settings that say what one boot measures.
WORKLOAD = (
    "tokens",
    "blocks",
    "warmup",
    "sessions",
    "load_requests",
    "payload_bytes",
    "round_trips",
    "security_blocks",
    "padding",
)
# Settings that are the servers' own.
SERVING = ("batch", "session_seconds", "response_bucket_bytes")
BOOTS = {1: "boots", 4: "security_boots"}  # which setting says how many, by tier
PLATFORMS = ("local", "aws-nitro", "gcp-confidential-space")
SOURCES = ("package", "hub", "seeded")
PRECISIONS = ("fp32", "bf16", "q8", "q4")
LOCATORS = {
    "package": (re.compile(r"[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+"), "name==version"),
    "hub": (re.compile(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}"), "owner/name@revision, 40 hex digits"),
    "seeded": (re.compile(r"-|[A-Za-z0-9._-]+==[A-Za-z0-9._+!-]+"), "the tokenizer's package or -"),
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

    `sha256` pins its files, of which a seeded one has none; that has a seed and dimensions.
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

    def identity(self) -> dict[str, str]:
        """What decides its files: everything but how it is called in print."""
        fields = asdict(self)
        return {name: fields[name] for name in fields if name != "title"}


@dataclass(frozen=True, slots=True)
class Cell:
    """One measuring job."""

    platform: str
    instance: str
    model: str
    repetition: int
    tier: int


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
    return [_model(row) for row in read(path, MODEL_COLUMNS, key=("model",))]


def chosen_instances(
    config: Mapping[str, object], known: Iterable[Instance], path: Path
) -> list[Instance]:
    """The configured instances of the configured platform, in the order configured."""
    here = {row.instance: row for row in known if row.platform == config["platform"]}
    return [here[name] for name in _chosen(config, "instances", here, path)]


def chosen_models(config: Mapping[str, object], known: Iterable[Model], path: Path) -> list[Model]:
    """The configured models, in the order configured."""
    here = {row.model: row for row in known}
    return [here[name] for name in _chosen(config, "models", here, path)]


def matrix(
    on: Iterable[Instance], of: Iterable[Model], *, repetitions: int, tiers: Sequence[int]
) -> list[Cell]:
    """Every measuring job: instances x models x repetitions (from 1) x tiers."""
    return [
        Cell(instance.platform, instance.instance, model.model, repetition, tier)
        for instance, model, repetition, tier in product(on, of, range(1, repetitions + 1), tiers)
    ]


def folder_of(cell: Cell) -> str:
    """Where a cell's records lie; also written out in rules/measure.smk."""
    where = f"{cell.platform}/{cell.instance}/{cell.model}/rep{cell.repetition}"
    return f"results/records/{where}"


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


def _chosen(
    config: Mapping[str, object], field: str, known: Mapping[str, object], path: Path
) -> list[str]:
    names = config[field]
    if not isinstance(names, list):  # the schema has seen to that
        raise TypeError(f"{field} is {type(names).__name__}, expected a list")
    for name in names:
        if name not in known:
            of = f" of platform {config['platform']}" if field == "instances" else ""
            raise ConfigError(
                "config",
                None,
                field,
                found=name,
                expected=f"a row{of} in {path}: {', '.join(known) or 'there is none'}",
            )
    return list(names)


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
    _check(row, "model", NAME, "lower case letters, digits, dots and dashes")
    _check(row, "locator", *LOCATORS[source])
    if source == "seeded":
        row.integer("seed")
        _check(row, "config", DIMENSIONS, "name=number words")
    else:
        _check(row, "sha256", DIGESTS, "64 hex digits of the weights, or file=digest with commas")
    for column in ("sha256",) if source == "seeded" else ("seed", "config"):
        if row.text(column):
            raise row.error(column, expected=f"{ABSENT}, as it is for source {source}")
    for column in ("version", "architecture", "title", "license"):
        row.given(column)
    return Model(**row.cells)


def _check(row: Row, column: str, pattern: re.Pattern[str], meaning: str) -> None:
    if not pattern.fullmatch(row.cells[column]):
        raise row.error(column, expected=meaning)
