# What it all costs, and what others published: judgement of judgement. A new price or figure of
# somebody else's reruns these and the page, and no statistics.
from bench import prices


rule calculate_costs:
    input:
        code=closure("scripts/calculate_costs.py"),
        metrics="results/summary/metrics.csv",
        overhead="results/summary/overhead.csv",
        catalogue=METRIC_TABLE,
        prices=prices.newest(Path("config/prices")),
        gpu="config/gpu.tsv",
    output:
        cost="results/summary/cost.csv",
        crossover="results/summary/crossover.csv",
        gpus="results/summary/gpus.csv",
        instances="results/summary/instances.csv",
        prices="results/summary/prices.csv",
    log:
        "results/logs/calculate_costs.log",
    conda:
        "../envs/analysis.yaml"
    params:
        bought=prices.bought(
            JOBS.instances, plan.instances(Path("config/instances.tsv"))
        ),
        kinds={row.model: row.kind for row in JOBS.models},
        utilisation=config["utilisation"],
    message:
        "calculate what it costs"
    script:
        "../scripts/calculate_costs.py"


rule import_published:
    input:
        code=closure("scripts/import_published.py"),
        catalogue=METRIC_TABLE,
        results=files(config["published"]) if config["published"] else [],
    output:
        "results/summary/published.csv",
    log:
        "results/logs/import_published.log",
    conda:
        "../envs/analysis.yaml"
    message:
        "import published results"
    script:
        "../scripts/import_published.py"
