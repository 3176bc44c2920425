# Networks given by files: checked, and brought to where trained and quantized networks are.
IMPORTS = C.imports()


def imported_pattern(*precisions):
    """Return a pattern of `<model>/pretrained/<precision>` for the files that are given, which matches nothing without any."""
    given = [f"{key.split('/')[0]}/pretrained/{key.split('/')[1]}" for key in IMPORTS if key.endswith(precisions)]
    return "|".join(given) or "(?!)"


def imported_file(w):
    model, _, precision = w.network.split("/")
    return IMPORTS[f"{model}/{precision}"]


def imported_data(file):
    return lambda w: f"results/data/{C.dataset_of(w.network.split('/')[0])}/{file}"


ruleorder: import_float_network > train_model
ruleorder: import_integer_network > quantize_model


rule import_float_network:
    input:
        file=ancient(imported_file),
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
        sha256=lambda w: sha256_path(imported_file(w)),
        declaration=lambda w: C.declaration(w.network.split("/")[0]),
        code=code("import_float_network.py"),
    script:
        "../workflow_scripts/import_float_network.py"


rule import_integer_network:
    input:
        file=ancient(imported_file),
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
        sha256=lambda w: sha256_path(imported_file(w)),
        declaration=lambda w: C.declaration(w.network.split("/")[0]),
        kernels=lambda w: C.kernels(w.network.split("/")[2]),
        code=code("import_integer_network.py"),
    script:
        "../workflow_scripts/import_integer_network.py"
