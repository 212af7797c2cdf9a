# The files that decide a rebuild are the files in the image: the folder `enclave`, whole.
rule build_image:
    input:
        code=closure("scripts/build_image.py"),
        measured=folder("enclave"),
        authority="results/emulators/public.json",
    output:
        image="results/images/{platform}/image.eif",
        measurements="results/images/{platform}/measurements.json",
    log:
        "results/logs/build_image/{platform}.log",
    conda:
        "../envs/image.yaml"
    message:
        "build the image for {wildcards.platform}"
    script:
        "../scripts/build_image.py"
