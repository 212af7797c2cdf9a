# The plan: what is measured, read from the tables and checked before anything runs.
import os
from hashlib import sha256
from pathlib import Path

from bench import goals, jobs, plan
from bench.sources import closure, files, folder

CONFIG = Path("config/config.yaml")
METRIC_TABLE = Path("config/metrics.tsv")
GOAL_TABLE = Path("config/goals.tsv")

given = [Path(os.path.relpath(name)) for name in workflow.configfiles]
JOBS = jobs.read(config, [CONFIG, *(n for n in given if n != CONFIG)], CONFIG.parent)
GOALS = goals.read(GOAL_TABLE)
PLATFORM = JOBS.platform


wildcard_constraints:
    platform="|".join(plan.PLATFORMS),
    instance="|".join(row.instance for row in JOBS.instances),
    model="|".join(row.model for row in JOBS.known),
    rep=r"\d+",
    tier=r"\d",


def asked_of(wildcards):
    """What a run beside peers compares; neither goal nor title decides it."""
    return goals.measured(GOALS, wildcards.probe, wildcards.model)


def sources_of(wildcards):
    """The folder of weights of every side, where config/models.tsv has a row for it."""
    known = {row.model for row in JOBS.known}
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
