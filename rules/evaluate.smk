# From stored samples to records (one row a sample), and from records to tables.
rule evaluate_clean:
    input:
        network=lambda w: network_file(w.model, w.training, w.target),
        densities=lambda w: C.density_files([w.preprocessor]),
        test=data_of("test"),
    output:
        "results/evaluations/{model}/{training}/clean/{preprocessor}/{target}.parquet",
    log:
        "logs/evaluations/{model}/{training}/clean/{preprocessor}/{target}.log",
    benchmark:
        "logs/evaluations/{model}/{training}/clean/{preprocessor}/{target}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        kernels=lambda w: C.kernels(w.target),
        preprocessor=lambda w: C.preprocessor(w.preprocessor),
        code=lambda w: code("evaluate_clean.py", *target_modules(w)),
    script:
        "../workflow_scripts/evaluate_clean.py"


rule evaluate_adversarial:
    input:
        adversarial="results/adversarial/{model}/{training}/{source}/{attack}.npz",
        network=lambda w: network_file(w.model, w.training, w.target),
        densities=lambda w: C.density_files([w.preprocessor]),
        test=data_of("test"),
        source_clean=lambda w: clean_file(w.model, w.training, C.fronts(w.attack)[0], w.source),
        target_clean="results/evaluations/{model}/{training}/clean/{preprocessor}/{target}.parquet",
    output:
        "results/evaluations/{model}/{training}/{source}/{attack}/{preprocessor}/{target}.parquet",
    log:
        "logs/evaluations/{model}/{training}/{source}/{attack}/{preprocessor}/{target}.log",
    benchmark:
        "logs/evaluations/{model}/{training}/{source}/{attack}/{preprocessor}/{target}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        attack=lambda w: C.attack_columns(w.attack),
        kernels=lambda w: C.kernels(w.target),
        preprocessor=lambda w: C.preprocessor(w.preprocessor),
        code=lambda w: code("evaluate_adversarial.py", *target_modules(w)),
    script:
        "../workflow_scripts/evaluate_adversarial.py"


# The vote of the three precisions, counted from their records.
rule evaluate_clean_vote:
    input:
        members=expand(
            "results/evaluations/{model}/{training}/clean/{preprocessor}/{member}.parquet",
            member=MEMBERS,
            allow_missing=True,
        ),
    output:
        "results/evaluations/{model}/{training}/clean/{preprocessor}/vote.parquet",
    log:
        "logs/evaluations/{model}/{training}/clean/{preprocessor}/vote.log",
    benchmark:
        "logs/evaluations/{model}/{training}/clean/{preprocessor}/vote.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        kernels=[C.kernels(member)[0] for member in MEMBERS],
        code=code("evaluate_vote.py"),
    script:
        "../workflow_scripts/evaluate_vote.py"


rule evaluate_vote:
    input:
        members=expand(
            "results/evaluations/{model}/{training}/{source}/{attack}/{preprocessor}/{member}.parquet",
            member=MEMBERS,
            allow_missing=True,
        ),
        clean="results/evaluations/{model}/{training}/clean/{preprocessor}/vote.parquet",
    output:
        "results/evaluations/{model}/{training}/{source}/{attack}/{preprocessor}/vote.parquet",
    log:
        "logs/evaluations/{model}/{training}/{source}/{attack}/{preprocessor}/vote.log",
    benchmark:
        "logs/evaluations/{model}/{training}/{source}/{attack}/{preprocessor}/vote.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        kernels=[C.kernels(member)[0] for member in MEMBERS],
        code=code("evaluate_vote.py"),
    script:
        "../workflow_scripts/evaluate_vote.py"


rule tabulate_experiment:
    input:
        records=lambda w: records_of(w.experiment),
    output:
        "results/tables/experiments/{experiment}.csv",
    log:
        "logs/tables/experiments/{experiment}.log",
    benchmark:
        "logs/tables/experiments/{experiment}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        table="robust_accuracy",
        code=code("make_table.py"),
    script:
        "../workflow_scripts/make_table.py"


rule tabulate_robust_accuracy:
    input:
        tables=expand("results/tables/experiments/{experiment}.csv", experiment=C.experiments),
    output:
        "results/tables/robust_accuracy.csv",
    log:
        "logs/tables/robust_accuracy.log",
    benchmark:
        "logs/tables/robust_accuracy.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        table="concatenation",
        code=code("make_table.py"),
    script:
        "../workflow_scripts/make_table.py"


rule tabulate_clean_accuracy:
    input:
        records=[clean_file(*point) for point in C.clean_evaluations()],
    output:
        "results/tables/clean_accuracy.csv",
    log:
        "logs/tables/clean_accuracy.log",
    benchmark:
        "logs/tables/clean_accuracy.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        table="clean_accuracy",
        code=code("make_table.py"),
    script:
        "../workflow_scripts/make_table.py"


rule tabulate_worst_case:
    input:
        records=[path for experiment in C.experiments for path in records_of(experiment)],
        detections=detections(),
    output:
        "results/tables/worst_case.csv",
    log:
        "logs/tables/worst_case.log",
    benchmark:
        "logs/tables/worst_case.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        table="worst_case",
        code=code("make_table.py"),
    script:
        "../workflow_scripts/make_table.py"


rule tabulate_defenses:
    input:
        records=[path for experiment in C.experiments for path in records_of(experiment)],
        detections=detections(),
    output:
        "results/tables/defenses.csv",
    log:
        "logs/tables/defenses.log",
    benchmark:
        "logs/tables/defenses.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        table="defenses",
        code=code("make_table.py"),
    script:
        "../workflow_scripts/make_table.py"


# Targets under the same attack; white-box against transferred samples; attacks against each other.
PAIRED_TABLES = {"paired_tests": "target", "paired_sources": "source", "paired_attacks": "attack"}


for paired_table, compared in PAIRED_TABLES.items():

    rule:
        name:
            f"tabulate_{paired_table}"
        input:
            records=[path for experiment in C.experiments for path in records_of(experiment)],
        output:
            f"results/tables/{paired_table}.csv",
        log:
            f"logs/tables/{paired_table}.log",
        benchmark:
            f"logs/tables/{paired_table}.tsv"
        conda:
            "../envs/workflow.yaml"
        params:
            table="paired_tests",
            arguments={"kernels": C.compared_kernels, "compared": compared},
            code=code("make_table.py"),
        script:
            "../workflow_scripts/make_table.py"


rule tabulate_cost_and_robustness:
    input:
        device_cost="results/tables/device_cost.csv",
        worst_case="results/tables/worst_case.csv",
    output:
        "results/tables/cost_and_robustness.csv",
    log:
        "logs/tables/cost_and_robustness.log",
    benchmark:
        "logs/tables/cost_and_robustness.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        table="cost_and_robustness",
        code=code("make_table.py"),
    script:
        "../workflow_scripts/make_table.py"


rule tabulate_headline:
    input:
        clean_accuracy="results/tables/clean_accuracy.csv",
        worst_case="results/tables/worst_case.csv",
    output:
        "results/tables/headline.csv",
    log:
        "logs/tables/headline.log",
    benchmark:
        "logs/tables/headline.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        table="headline",
        arguments={"kernels": C.compared_kernels},
        code=code("make_table.py"),
    script:
        "../workflow_scripts/make_table.py"
