from pathlib import Path


configfile: str(Path(workflow.basedir) / "config.yaml")


include: "rules/common.smk"
include: "rules/data.smk"
include: "rules/train.smk"
include: "rules/quantize.smk"
include: "rules/import.smk"
include: "rules/attack.smk"
include: "rules/evaluate.smk"
include: "rules/detect.smk"
include: "rules/diagnose.smk"
include: "rules/tabulate.smk"
include: "rules/report.smk"
include: "rules/reference.smk"


rule all:
    input:
        expand("results/tables/{table}.csv", table=TABLES),
        expand(
            "results/figures/{figure}.{kind}",
            figure=TABLES_OF_FIGURES,
            kind=["svg", "png"],
        ),
        expand("results/reports/{report}.html", report=PAGES),


rule tables:
    input:
        expand("results/tables/{table}.csv", table=TABLES),


rule figures:
    input:
        expand(
            "results/figures/{figure}.{kind}",
            figure=TABLES_OF_FIGURES,
            kind=["svg", "png"],
        ),


rule audit:
    input:
        expand("results/reports/{report}.html", report=["audit", *(["sound"] if SOUND else [])]),
        "results/tables/headline.csv",


rule reports:
    input:
        expand("results/reports/{report}.html", report=PAGES),
