# From every record to the image it was made on: signatures, digests, attestation. Offline.
rule check_evidence:
    input:
        code=closure("scripts/check_evidence.py"),
        records=JOBS.records("jsonl"),
        evidence=JOBS.records("evidence.cbor"),
        measurements=f"results/images/{PLATFORM}/measurements.json",
        manifests=JOBS.manifests(),
        authority="results/emulators/public.json",
    output:
        "results/summary/evidence.csv",
    log:
        "results/logs/check_evidence.log",
    conda:
        "../envs/analysis.yaml"
    message:
        "check the evidence behind the records"
    script:
        "../scripts/check_evidence.py"


# The same on demand, of the files as they lie here: without inputs nothing is made again first, and
# without an output it always runs.
rule verify:
    log:
        "results/logs/verify.log",
    conda:
        "../envs/analysis.yaml"
    params:
        records=JOBS.records("jsonl"),
        evidence=JOBS.records("evidence.cbor"),
        measurements=f"results/images/{PLATFORM}/measurements.json",
        manifests=JOBS.manifests(),
        authority="results/emulators/public.json",
    message:
        "verify the records as they lie here"
    script:
        "../scripts/verify.py"


# Whether the key policy that this platform sets for this image opens the key to anyone else. Without
# an output it always runs.
rule lint_policy:
    input:
        code=closure("scripts/lint_policy.py"),
        measurements=f"results/images/{PLATFORM}/measurements.json",
    log:
        "results/logs/lint_policy.log",
    conda:
        "../envs/image.yaml"
    message:
        "lint the key policy"
    script:
        "../scripts/lint_policy.py"
