# A model as its authors published it, and the same one sealed for a platform: encrypted under a key
# that only the measured image is given.


# Identity decides, not the name in print: a new title fetches nothing.
rule fetch_model:
    input:
        code=closure("scripts/fetch_model.py"),
        shared=JOBS.shared,
    output:
        weights="results/models/{model}/source/model.safetensors",
        tokenizer="results/models/{model}/source/tokenizer.json",
        source="results/models/{model}/source/source.json",
    log:
        "results/logs/fetch_model/{model}.log",
    conda:
        "../envs/image.yaml"
    params:
        row=JOBS.identity,
    message:
        "fetch {wildcards.model}"
    script:
        "../scripts/fetch_model.py"


# Root of the emulated platform, its KMS key, the model owner's key. They are made once and kept
# outside the outputs, so that what was sealed or attested under them stays verifiable.
rule provision:
    input:
        code=closure("scripts/provision.py"),
    output:
        authority="results/emulators/public.json",
    log:
        "results/logs/provision.log",
    conda:
        "../envs/image.yaml"
    message:
        "provision the emulated authorities"
    script:
        "../scripts/provision.py"


# The weights are too large to be compared by content; source.json holds their digest.
rule seal_model:
    input:
        code=closure("scripts/seal_model.py"),
        authority="results/emulators/public.json",
        source="results/models/{model}/source/source.json",
        weights=ancient("results/models/{model}/source/model.safetensors"),
        tokenizer=ancient("results/models/{model}/source/tokenizer.json"),
    output:
        weights="results/models/{model}/{platform}/weights.sealed",
        manifest="results/models/{model}/{platform}/manifest.cose",
        tokenizer="results/models/{model}/{platform}/tokenizer.json",
        sealed="results/models/{model}/{platform}/sealed.json",
    log:
        "results/logs/seal_model/{model}/{platform}.log",
    conda:
        "../envs/image.yaml"
    params:
        row=JOBS.identity,
    message:
        "seal {wildcards.model} for {wildcards.platform}"
    script:
        "../scripts/seal_model.py"
