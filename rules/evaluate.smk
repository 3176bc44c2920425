# From stored samples to records, one row a sample.
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
    resources:
        mem_mb=MEMORY,
    params:
        kernels=lambda w: C.kernels(w.target),
        preprocessor=lambda w: ordered(C.preprocessor(w.preprocessor)),
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
    resources:
        mem_mb=MEMORY,
    params:
        attack=lambda w: C.attack_columns(w.attack),
        kernels=lambda w: C.kernels(w.target),
        preprocessor=lambda w: ordered(C.preprocessor(w.preprocessor)),
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
