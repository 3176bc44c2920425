# From samples to what a detector says of them: its threshold and clean samples once, then each attack.
rule detect_clean:
    input:
        network=lambda w: network_file(w.model, w.training, w.target),
        densities=lambda w: C.density_files([w.detector]),
        validation=data_of("validation"),
        test=data_of("test"),
    output:
        "results/detections/{model}/{training}/clean/{detector}/{target}.parquet",
    log:
        "logs/detections/{model}/{training}/clean/{detector}/{target}.log",
    benchmark:
        "logs/detections/{model}/{training}/clean/{detector}/{target}.tsv"
    conda:
        "../envs/workflow.yaml"
    resources:
        mem_mb=MEMORY,
    params:
        judge=judge,
        false_positive_rate=lambda w: C.detector(w.detector)["false_positive_rate"],
        code=lambda w: code("detect_clean.py", *judge_modules(w)),
    script:
        "../workflow_scripts/detect_clean.py"


rule detect_adversarial:
    input:
        adversarial="results/adversarial/{model}/{training}/{source}/{attack}.npz",
        network=lambda w: network_file(w.model, w.training, w.target),
        densities=lambda w: C.density_files([w.detector]),
        clean="results/detections/{model}/{training}/clean/{detector}/{target}.parquet",
        test=data_of("test"),
    output:
        "results/detections/{model}/{training}/{source}/{attack}/{detector}/{target}.parquet",
    log:
        "logs/detections/{model}/{training}/{source}/{attack}/{detector}/{target}.log",
    benchmark:
        "logs/detections/{model}/{training}/{source}/{attack}/{detector}/{target}.tsv"
    conda:
        "../envs/workflow.yaml"
    resources:
        mem_mb=MEMORY,
    params:
        judge=judge,
        attack=lambda w: C.attack_columns(w.attack),
        code=lambda w: code("detect_adversarial.py", *judge_modules(w)),
    script:
        "../workflow_scripts/detect_adversarial.py"
