# Judgement: costs nothing and may be made again by anyone who has the records.
rule summarise:
    input:
        code=closure("scripts/summarise.py"),
        catalogue=METRIC_TABLE,
        verdicts="config/verdicts.tsv",
        models="config/models.tsv",
        records=JOBS.records("jsonl"),
    output:
        metrics="results/summary/metrics.csv",
        overhead="results/summary/overhead.csv",
        stages="results/summary/stages.csv",
        scaling="results/summary/scaling.csv",
        distribution="results/summary/distribution.csv",
        quality="results/summary/quality.csv",
        context="results/summary/context.csv",
        parity="results/summary/parity.csv",
    log:
        "results/logs/summarise.log",
    conda:
        "../envs/analysis.yaml"
    message:
        "summarise the records"
    script:
        "../scripts/summarise.py"


# What was asked for, and what of it there is: after everything else of the summary.
rule check_completeness:
    input:
        code=closure("scripts/check_completeness.py"),
        specification="config/specification.tsv",
        catalogue=METRIC_TABLE,
        models="config/models.tsv",
        summary=collect(
            "results/summary/{table}.csv",
            table=[
                *("metrics", "quality", "context"),
                *("cost", "crossover", "instances", "compliance"),
            ],
        ),
    output:
        "results/summary/completeness.csv",
    log:
        "results/logs/check_completeness.log",
    conda:
        "../envs/analysis.yaml"
    message:
        "check what is missing"
    script:
        "../scripts/check_completeness.py"
