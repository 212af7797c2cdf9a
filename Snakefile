# From model and enclave code to a report, in the order of the includes:
#
#   results/models/{model}/                          fetched, then sealed for a platform
#   results/images/{platform}/                       the image and what it measures
#   results/records/{platform}/{instance}/{model}/   every value ever measured, and its evidence
#   results/compliance/{platform}/{instance}/        all that sessions left behind, a file a model
#   results/summary/                                 judgement: may be made again by anyone
#   results/report/index.html                        what a reader opens
from snakemake.utils import min_version

min_version("9.27")


configfile: "config/config.yaml"


include: "rules/controller.smk"
include: "rules/common.smk"


# Archived records are given: what makes them is left out, so that nothing can be stale.
if config["records"] == "measured":

    include: "rules/seal.smk"
    include: "rules/image.smk"
    include: "rules/measure.smk"
    include: "rules/peers.smk"


include: "rules/evidence.smk"
include: "rules/compliance.smk"
include: "rules/summarise.smk"
include: "rules/cost.smk"
include: "rules/report.smk"
include: "rules/bench.smk"


rule all:
    default_target: True
    input:
        JOBS.records("jsonl"),
        "results/summary/evidence.csv",
        "results/summary/compliance.csv",
        "results/report/index.html",
