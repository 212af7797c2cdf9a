# What `make bench` asks for: one table of ratios, with goals. Judgement, as in summarise.smk.
rule bench:
    input:
        code=closure("scripts/bench.py"),
        goals=GOAL_TABLE,
        records=[
            f"results/bench/records/{row.instance}/{model}/rep{rep}/{probe}.jsonl"
            for row in JOBS.instances
            for probe, model in compared()
            for rep in range(1, config["repetitions"] + 1)
        ],
    output:
        "results/bench/ratios.csv",
    log:
        "results/logs/bench.log",
    conda:
        "../envs/analysis.yaml"
    message:
        "judge the ratios"
    script:
        "../scripts/bench.py"
