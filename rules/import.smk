# Networks given by files: checked, and brought to where trained and quantized networks are.
from qnn_robustness.quantization import importing


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
    resources:
        mem_mb=MEMORY,
    params:
        sha256=lambda w: sha256_path(C.imports()[w.network]),
        declaration=lambda w: ordered(C.declaration(model_of(w.network))),
        kernels=lambda w: C.kernels(precision_of(w.network)),
        code=lambda w: code("import_network.py", importing.module_for(precision_of(w.network))),
    script:
        "../workflow_scripts/import_network.py"


use rule import_float_network as import_integer_network with:
    output:
        network="results/models/{network}.tflite",
        sidecar="results/models/{network}.json",
    wildcard_constraints:
        network=imported_pattern("int8", "int16"),
