# The only stage that spends money or patience. All sides of a comparison run within one job, which
# has the machine to itself (threads); what is measured gets its CPUs from the instance's row.
#
# Files too large to be compared by content come in as ancient(), each beside the small file that
# holds its digest: image and measurements.json, weights and sealed.json or source.json.
rule measure_tier:
    input:
        code=JOBS.code,
        measured=folder("enclave"),
        authority="results/emulators/public.json",
        measurements="results/images/{platform}/measurements.json",
        image=ancient("results/images/{platform}/image.eif"),
        source="results/models/{model}/source/source.json",
        plain=ancient("results/models/{model}/source/model.safetensors"),
        sealed="results/models/{model}/{platform}/sealed.json",
        manifest="results/models/{model}/{platform}/manifest.cose",
        tokenizer="results/models/{model}/{platform}/tokenizer.json",
        weights=ancient("results/models/{model}/{platform}/weights.sealed"),
    output:
        records="results/records/{platform}/{instance}/{model}/rep{rep}/tier{tier}.jsonl",
        evidence="results/records/{platform}/{instance}/{model}/rep{rep}/tier{tier}.evidence.cbor",
    log:
        "results/logs/measure_tier/{platform}/{instance}/{model}/rep{rep}/tier{tier}.log",
    conda:
        "../envs/measure.yaml"
    threads: workflow.cores
    params:
        job=JOBS.job,
        shape=JOBS.shape,
        workload=JOBS.workload,
        metrics=JOBS.measured,
        # Not read by the script. It differs where the last run ended short, so that one more follows.
        short=JOBS.short,
        lease={
            "require": config["require_isolation"],
            "transport": config["transport"],
            "sessions": 100,
            **{name: config[name] for name in plan.SERVING},
        },
    message:
        "measure tier {wildcards.tier} of {wildcards.model} on {wildcards.platform}/{wildcards.instance}, repetition {wildcards.rep}"
    script:
        "../scripts/measure_tier.py"
