from pathlib import Path


configfile: str(Path(workflow.basedir) / "config.yaml")


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/quantize.smk"
include: "rules/attack.smk"
include: "rules/evaluate.smk"
include: "rules/reference.smk"


rule all:
    input:
        "results/tables/headline.csv",
        "results/tables/robust_accuracy.csv",
        "results/tables/paired_tests.csv",
