"""Jobs: what is measured where, a job for each file of records, and what decides each of them.

Rules ask here at parse time; what they are given goes into Snakemake's inputs and params, which it
compares by content. So each answer holds what decides a measurement and nothing else.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any, Protocol, TypeVar

from bench import catalogue, plan, settings
from bench.catalogue import Metric
from bench.plan import Instance, Model
from bench.sources import closure
from bench.tables import ConfigError

Row = TypeVar("Row")
Config = Mapping[str, Any]  # checked against config.schema.yaml before it comes here


class Asked(Protocol):
    """Wildcards of one measuring job."""

    @property
    def platform(self) -> str: ...
    @property
    def instance(self) -> str: ...
    @property
    def model(self) -> str: ...
    @property
    def rep(self) -> str: ...
    @property
    def tier(self) -> str: ...


@dataclass(frozen=True, slots=True)
class Cell:
    """One measuring job."""

    platform: str
    instance: str
    model: str
    repetition: int
    tier: int

    def file(self, ending: str) -> str:
        """A file of its records; the pattern stands in rules/measure.smk, too."""
        where = f"{self.platform}/{self.instance}/{self.model}/rep{self.repetition}"
        return f"results/records/{where}/tier{self.tier}.{ending}"


@dataclass(frozen=True, slots=True)
class Jobs:
    """The configured matrix, and for each of its jobs what rule and script are told."""

    config: Config
    metrics: Sequence[Metric]
    instances: Sequence[Instance]
    known: Sequence[Model]
    models: Sequence[Model]

    @property
    def platform(self) -> str:
        """Where enclaves run."""
        return str(self.config["platform"])

    @property
    def platform_module(self) -> str:
        """The code that knows the platform."""
        return f"bench.platforms.{self.platform.replace('-', '_')}"

    def cells(self) -> list[Cell]:
        """Every job: instances x models x repetitions (from 1) x the model's tiers."""
        repetitions = range(1, self.config["repetitions"] + 1)
        return [
            Cell(instance.platform, instance.instance, model.model, repetition, tier)
            for instance, model, repetition in product(self.instances, self.models, repetitions)
            for tier in self.config["models"][model.model]["tiers"]
        ]

    def records(self, ending: str) -> list[str]:
        """Files of that ending of every job."""
        return [cell.file(ending) for cell in self.cells()]

    def records_of(self, asked: Asked, ending: str) -> list[str]:
        """Files of that ending of every job that measures one model on one instance."""
        where = asked.platform, asked.instance, asked.model
        return [
            cell.file(ending)
            for cell in self.cells()
            if (cell.platform, cell.instance, cell.model) == where
        ]

    def bundles(self) -> list[str]:
        """A compliance bundle for each model on each instance."""
        where = (f"{cell.platform}/{cell.instance}/{cell.model}" for cell in self.cells())
        return [f"results/compliance/{place}.cbor" for place in dict.fromkeys(where)]

    def manifests(self) -> list[str]:
        """Signed manifests of the sealed models that are measured."""
        measured = dict.fromkeys(cell.model for cell in self.cells())
        return [f"results/models/{model}/{self.platform}/manifest.cose" for model in measured]

    def model(self, asked: Asked) -> Model:
        """The row of config/models.tsv."""
        return next(row for row in self.known if row.model == asked.model)

    def identity(self, asked: Asked) -> dict[str, str]:
        """What decides a model's bytes."""
        return self.model(asked).identity()

    def shared(self, asked: Asked) -> list[str]:
        """Where the floats lie that a model is made of; nothing where it has its own."""
        other = self.model(asked).shared
        return [f"results/models/{other}/source/source.json"] if other else []

    def shape(self, asked: Asked) -> dict[str, int]:
        """What an enclave gets on this instance; the other sides get the same CPUs."""
        return next(row.shape() for row in self.instances if row.instance == asked.instance)

    def job(self, asked: Asked) -> dict[str, object]:
        """What decides a job, apart from what one boot measures."""
        return {
            "tier": int(asked.tier),
            "instance": asked.instance,
            "model": asked.model,
            "repetition": int(asked.rep),
            "boots": self._setting(asked, plan.BOOTS[int(asked.tier)]),
            "seed": self.config["seed"],
        }

    def workload(self, asked: Asked) -> dict[str, object]:
        """What one boot measures: the settings of its tier, the model's own before all models'."""
        return {name: self._setting(asked, name) for name in plan.WORKLOAD[int(asked.tier)]}

    def measured(self, asked: Asked) -> list[dict[str, str]]:
        """What measuring takes from the catalogue."""
        return catalogue.measured(self.metrics, int(asked.tier), self.model(asked).kind)

    def short(self, asked: Asked) -> int:
        """How many runs of a job ended short of what it asks for (bench.measure.kept says why)."""
        where = f"{asked.platform}/{asked.instance}/{asked.model}/rep{asked.rep}"
        path = Path(f"results/records/{where}/.tier{asked.tier}/short")
        return int(path.read_text()) if path.is_file() else 0

    def code(self, asked: Asked) -> list[str]:
        """All code outside the enclave that a job's observations depend on."""
        probes = catalogue.probes(self.metrics, int(asked.tier), self.model(asked).kind)
        return closure("scripts/measure_tier.py", self.platform_module, *probes)

    def _setting(self, asked: Asked, name: str) -> object:
        return {**self.config, **self.config["models"].get(asked.model, {})}[name]


def read(config: Config, files: Sequence[Path], folder: Path) -> Jobs:
    """Jobs of a merged configuration, which came from `files`, and the tables in `folder`.

    ConfigError names the setting or cell that is wrong, or the machine's lack where records are to
    be measured.
    """
    settings.check(config, folder / "config.schema.yaml", files)
    tables = {name: folder / f"{name}.tsv" for name in ("metrics", "instances", "models")}
    machines = [r for r in plan.instances(tables["instances"]) if r.platform == config["platform"]]
    known = plan.models(tables["models"])
    jobs = Jobs(
        config,
        catalogue.read(tables["metrics"]),
        _chosen(config, "instances", {row.instance: row for row in machines}, files),
        known,
        _chosen(config, "models", {row.model: row for row in known}, files),
    )
    _require_tiers(jobs, files)
    if config["records"] == "measured":
        plan.require_platform(jobs.platform_module, files[-1])
        plan.require_fit(jobs.instances, plan.this_machine(), tables["instances"])
    return jobs


def _chosen(
    config: Config, field: str, known: Mapping[str, Row], files: Sequence[Path]
) -> list[Row]:
    """Rows by the names that stand in a setting, in its order."""
    for name in config[field]:
        if name not in known:
            place = ("models", name, "tiers") if field == "models" else (field,)
            of = f" of platform {config['platform']}" if field == "instances" else ""
            expected = f"a row{of} in config/{field}.tsv: {', '.join(known) or 'there is none'}"
            path, line = settings.where(config, place, files)
            raise ConfigError(path, line, field, found=name, expected=expected)
    return [known[name] for name in config[field]]


def _require_tiers(jobs: Jobs, files: Sequence[Path]) -> None:
    """ConfigError for the first tier that has nothing to measure for its kind of model."""
    for model in jobs.models:
        here = catalogue.tiers(jobs.metrics, model.kind)
        place = ("models", model.model, "tiers")
        for tier in jobs.config["models"][model.model]["tiers"]:
            if tier not in here:
                path, line = settings.where(jobs.config, place, files)
                kind = f"a tier that measures an {model.kind}: {', '.join(map(str, here))}"
                raise ConfigError(path, line, ".".join(place), found=tier, expected=kind)
    if not jobs.cells():
        expected = "a model with at least one tier"
        raise ConfigError(files[-1], None, "models", found="no tier in any", expected=expected)
