# Judgement: costs nothing and may be made again by anyone who has the records.
rule summarise:
    input:
        code=closure("scripts/summarise.py"),
        catalogue=METRIC_TABLE,
        verdicts="config/verdicts.tsv",
        records=every_record("jsonl"),
    output:
        metrics="results/summary/metrics.csv",
        overhead="results/summary/overhead.csv",
        stages="results/summary/stages.csv",
        distribution="results/summary/distribution.csv",
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
