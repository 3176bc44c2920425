# From stored samples to what a detector says of them.
rule detect_adversarial:
    input:
        adversarial="results/adversarial/{model}/{training}/{source}/{attack}.npz",
        network=lambda w: network_file(w.model, w.training, w.target),
        densities=lambda w: C.density_files([w.detector]),
        validation=data_of("validation"),
        test=data_of("test"),
    output:
        "results/detections/{model}/{training}/{source}/{attack}/{detector}/{target}.parquet",
    log:
        "logs/detections/{model}/{training}/{source}/{attack}/{detector}/{target}.log",
    benchmark:
        "logs/detections/{model}/{training}/{source}/{attack}/{detector}/{target}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        attack=lambda w: C.attack_columns(w.attack),
        kernels=lambda w: C.kernels(w.target),
        probabilities=lambda w: w.target != "float32" and C.model(w.model)["output"] == "softmax",
        preprocessors=lambda w: [C.preprocessor(name) for name in C.squeezed(w.detector)],
        density=lambda w: C.detector_density(w.detector),
        false_positive_rate=lambda w: C.detector(w.detector)["false_positive_rate"],
        code=lambda w: code(
            "detect_adversarial.py",
            target_module(w.target),
            *dict.fromkeys(module for name in C.squeezed(w.detector) for module in preprocessor_modules(name)),
        ),
    script:
        "../workflow_scripts/detect_adversarial.py"
