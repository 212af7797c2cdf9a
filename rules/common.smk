# The plan: what is measured, read from the tables and checked before anything runs.
import os
from hashlib import sha256
from pathlib import Path

from bench import catalogue, goals, plan, settings
from bench.sources import closure, files, folder

CONFIG = Path("config/config.yaml")
INSTANCE_TABLE = Path("config/instances.tsv")
MODEL_TABLE = Path("config/models.tsv")
METRIC_TABLE = Path("config/metrics.tsv")
GOAL_TABLE = Path("config/goals.tsv")

given = [Path(os.path.relpath(name)) for name in workflow.configfiles]
FILES = [CONFIG, *(name for name in given if name != CONFIG)]  # the last one wins
settings.check(config, Path("config/config.schema.yaml"), FILES)

METRICS = catalogue.read(METRIC_TABLE)
GOALS = goals.read(GOAL_TABLE)
INSTANCES = plan.chosen_instances(
    config, plan.instances(INSTANCE_TABLE), INSTANCE_TABLE
)
KNOWN_MODELS = plan.models(MODEL_TABLE)
MODELS = plan.chosen_models(config, KNOWN_MODELS, MODEL_TABLE)
CELLS = plan.matrix(
    INSTANCES, MODELS, repetitions=config["repetitions"], tiers=catalogue.tiers(METRICS)
)
PLATFORM = config["platform"]
PLATFORM_MODULE = f"bench.platforms.{PLATFORM.replace('-', '_')}"

if config["records"] == "measured":
    plan.require_platform(PLATFORM_MODULE, FILES[-1])
    plan.require_fit(INSTANCES, plan.this_machine(), INSTANCE_TABLE)


wildcard_constraints:
    platform="|".join(plan.PLATFORMS),
    instance="|".join(row.instance for row in INSTANCES),
    model="|".join(row.model for row in KNOWN_MODELS),
    rep=r"\d+",
    tier=r"\d",


def every_record(ending):
    """Files of that ending of every measuring job in the plan."""
    return [f"{plan.folder_of(cell)}/tier{cell.tier}.{ending}" for cell in CELLS]


def every_manifest():
    """Signed manifests of the sealed models that were measured."""
    return [f"results/models/{row.model}/{PLATFORM}/manifest.cose" for row in MODELS]


def model_records(ending):
    """Files of that ending of every job that measured one model on one instance."""

    def chosen(wildcards):
        asked = wildcards.platform, wildcards.instance, wildcards.model
        cells = [
            cell
            for cell in CELLS
            if (cell.platform, cell.instance, cell.model) == asked
        ]
        return [f"{plan.folder_of(cell)}/tier{cell.tier}.{ending}" for cell in cells]

    return chosen


def every_bundle():
    """One for each model on each instance."""
    where = (f"{cell.platform}/{cell.instance}/{cell.model}" for cell in CELLS)
    return [f"results/compliance/{place}.cbor" for place in dict.fromkeys(where)]


def model_row(wildcards):
    """What decides a model's bytes."""
    return next(row.identity() for row in KNOWN_MODELS if row.model == wildcards.model)


def job_row(wildcards):
    """What decides a measuring job, apart from what one boot measures."""
    return {
        "tier": int(wildcards.tier),
        "instance": wildcards.instance,
        "model": wildcards.model,
        "repetition": int(wildcards.rep),
        "boots": config[plan.BOOTS[int(wildcards.tier)]],
        "seed": config["seed"],
    }


def enclave_shape(wildcards):
    """What an enclave gets on this instance; the other sides get the same CPUs."""
    return next(row.shape() for row in INSTANCES if row.instance == wildcards.instance)


def tier_metrics(wildcards):
    """What measuring a tier takes from the catalogue."""
    return catalogue.measured(METRICS, int(wildcards.tier))


def tier_code(wildcards):
    """All code outside the enclave that a tier's observations depend on."""
    probes = catalogue.probes(METRICS, int(wildcards.tier))
    return closure("scripts/measure_tier.py", PLATFORM_MODULE, *probes)


def asked_of(wildcards):
    """What a run beside peers compares; neither goal nor title decides it."""
    return goals.measured(GOALS, wildcards.probe, wildcards.model)


def sources_of(wildcards):
    """The folder of weights of every side, where config/models.tsv has a row for it."""
    known = {row.model for row in KNOWN_MODELS}
    sides = {side for row in asked_of(wildcards) for side in row["sides"].split()}
    models = {side: goals.weights(wildcards.model, side) for side in sorted(sides)}
    return {
        side: f"results/models/{models[side]}/source"
        for side in models
        if models[side] in known
    }


def ratios_digest(path=Path("results/bench/ratios.csv")):
    """What `make bench` left, if it ever ran: the page shows it, and never waits for it."""
    return sha256(path.read_bytes()).hexdigest() if path.is_file() else ""


def compared(installed=Path(".venv-peers/lib")):
    """Runs beside peers, by probe and model; generation only where llama.cpp was built."""
    runs = sorted({(goal.probe, goal.model) for goal in GOALS})
    built = any(installed.glob("python*/site-packages/llama_cpp"))
    return [run for run in runs if run[0] != "decoder" or built]
