# From float32 networks to deployed .tflite files.
rule quantize_model:
    input:
        network="results/models/{model}/{training}/float32.keras",
        calibration=data_of("calibration"),
    output:
        network="results/models/{model}/{training}/{precision}.tflite",
        sidecar="results/models/{model}/{training}/{precision}.json",
    log:
        "logs/models/{model}/{training}/{precision}.log",
    benchmark:
        "logs/models/{model}/{training}/{precision}.tsv"
    conda:
        "../envs/workflow.yaml"
    resources:
        mem_mb=MEMORY,
    params:
        output=lambda w: C.model(w.model)["output"],
        name="{model}/{training}",
        recipe_sha256=lambda w: C.recipe_sha256(w.model, w.training),
        reference_models=C.values["reference_models"],
        code=code("quantize_model.py"),
    script:
        "../workflow_scripts/quantize_model.py"


# What float32 takes on a device, where it votes.
rule convert_float32:
    input:
        "results/models/{model}/{training}/float32.keras",
    output:
        "results/models/{model}/{training}/float32.tflite",
    log:
        "logs/models/{model}/{training}/float32_tflite.log",
    benchmark:
        "logs/models/{model}/{training}/float32_tflite.tsv"
    conda:
        "../envs/workflow.yaml"
    resources:
        mem_mb=MEMORY,
    params:
        code=code("convert_float32.py"),
    script:
        "../workflow_scripts/convert_float32.py"
