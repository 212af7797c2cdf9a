# What a run proves of its own security, in files that can be handed on.


# All that the sessions of one model left behind, in one file that a reviewer judges without the rest.
rule collect_compliance:
    input:
        code=closure("scripts/collect_compliance.py"),
        records=lambda wildcards: JOBS.records_of(wildcards, "jsonl"),
        evidence=lambda wildcards: JOBS.records_of(wildcards, "evidence.cbor"),
        measurements="results/images/{platform}/measurements.json",
        manifest="results/models/{model}/{platform}/manifest.cose",
        authority="results/emulators/public.json",
    output:
        "results/compliance/{platform}/{instance}/{model}.cbor",
    log:
        "results/logs/collect_compliance/{platform}/{instance}/{model}.log",
    conda:
        "../envs/image.yaml"
    message:
        "collect what {wildcards.model} on {wildcards.instance} left behind"
    script:
        "../scripts/collect_compliance.py"


# Each security property as one checked row. One that fails is printed, and stops nothing.
rule check_compliance:
    input:
        code=closure("scripts/check_compliance.py"),
        bundles=JOBS.bundles(),
        measurements=f"results/images/{PLATFORM}/measurements.json",
        authority="results/emulators/public.json",
    output:
        "results/summary/compliance.csv",
    log:
        "results/logs/check_compliance.log",
    conda:
        "../envs/analysis.yaml"
    message:
        "check what the bundles prove"
    script:
        "../scripts/check_compliance.py"
