# Networks given by files: checked, and brought to where trained and quantized networks are.


ruleorder: import_float_network > train_model
ruleorder: import_integer_network > quantize_model


rule import_float_network:
    input:
        file=ancient(lambda w: C.imports()[w.network]),
        test=imported_data("test.npz"),
        summary=imported_data("summary.json"),
    output:
        network="results/models/{network}.keras",
        sidecar="results/models/{network}.json",
    log:
        "logs/models/{network}.log",
    benchmark:
        "logs/models/{network}.tsv"
    wildcard_constraints:
        network=imported_pattern("float32"),
    conda:
        "../envs/workflow.yaml"
    params:
        sha256=lambda w: sha256_path(C.imports()[w.network]),
        declaration=lambda w: C.declaration(model_of(w.network)),
        code=code("import_float_network.py"),
    script:
        "../workflow_scripts/import_float_network.py"


rule import_integer_network:
    input:
        file=ancient(lambda w: C.imports()[w.network]),
        test=imported_data("test.npz"),
        summary=imported_data("summary.json"),
    output:
        network="results/models/{network}.tflite",
        sidecar="results/models/{network}.json",
    log:
        "logs/models/{network}.log",
    benchmark:
        "logs/models/{network}.tsv"
    wildcard_constraints:
        network=imported_pattern("int8", "int16"),
    conda:
        "../envs/workflow.yaml"
    params:
        sha256=lambda w: sha256_path(C.imports()[w.network]),
        declaration=lambda w: C.declaration(model_of(w.network)),
        kernels=lambda w: C.kernels(precision_of(w.network)),
        code=code("import_integer_network.py"),
    script:
        "../workflow_scripts/import_integer_network.py"
