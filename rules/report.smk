# One page that holds everything and needs nothing. It prints the summary and computes nothing.
rule render_report:
    input:
        code=closure("scripts/render_report.py"),
        report=files("report"),
        literature="config/literature.tsv",
        summary=collect(
            "results/summary/{table}.csv",
            table=[
                "metrics",
                "overhead",
                "stages",
                "scaling",
                "distribution",
                "quality",
                "context",
                "parity",
            ],
        ),
        evidence="results/summary/evidence.csv",
        compliance="results/summary/compliance.csv",
        completeness="results/summary/completeness.csv",
        costs=collect(
            "results/summary/{table}.csv",
            table=["cost", "crossover", "gpus", "prices", "published"],
        ),
    output:
        "results/report/index.html",
    log:
        "results/logs/render_report.log",
    conda:
        "../envs/report.yaml"
    params:
        ratios=ratios_digest(),
    message:
        "render the report"
    script:
        "../scripts/render_report.py"
