# Other engines beside ours, both sides in one run (`make bench`). Never a part of `all`: the peers'
# environment is apart, and so is their time.
PEERS = ".venv-peers/bin/python"


# Our weights in the formats that peers read.
rule convert_model:
    input:
        code=closure("scripts/convert_model.py"),
        lock="envs/peers.lock",
        source="results/models/{model}/source/source.json",
        weights=ancient("results/models/{model}/source/model.safetensors"),
        tokenizer=ancient("results/models/{model}/source/tokenizer.json"),
    output:
        "results/bench/formats/{model}/formats.json",
    log:
        "results/logs/convert_model/{model}.log",
    conda:
        "../envs/measure.yaml"
    params:
        python=PEERS,
        seed=config["seed"],
    message:
        "convert {wildcards.model} for the peers"
    script:
        "../scripts/convert_model.py"


# Has the machine to itself (threads); every engine gets as many CPUs as an enclave on it.
rule measure_peers:
    input:
        code=closure("scripts/measure_peers.py"),
        lock="envs/peers.lock",
        formats="results/bench/formats/{model}/formats.json",
        sources=lambda wildcards: sorted(
            {f"{path}/source.json" for path in sources_of(wildcards).values()}
        ),
    output:
        "results/bench/records/{instance}/{model}/rep{rep}/{probe}.jsonl",
    log:
        "results/logs/measure_peers/{instance}/{model}/rep{rep}/{probe}.log",
    conda:
        "../envs/measure.yaml"
    threads: workflow.cores
    params:
        python=PEERS,
        sources=sources_of,
        asked=asked_of,
        cpus=lambda wildcards: JOBS.shape(wildcards)["vcpus"],
        workload={name: config[name] for name in ("boots", "blocks", "warmup", "seed")},
    message:
        "bench {wildcards.probe} of {wildcards.model} on {wildcards.instance}, repetition {wildcards.rep}"
    script:
        "../scripts/measure_peers.py"
