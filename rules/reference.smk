# The networks that are kept with the project. `snakemake keep_reference_models` collects those of this run in
# results/reference_models, from where they are copied to reference_models/ by hand.
rule keep_reference_models:
    input:
        [
            f"results/models/{network.model}/{network.training}/{file}"
            for network in C.kept_networks()
            for file in (
                "float32.keras",
                "training.csv",
                "int8.tflite",
                "int8.json",
                "int16.tflite",
                "int16.json",
            )
        ],
        **{
            f"{model}_{split}": f"results/data/{C.dataset_of(model)}/{split}.npz"
            for model in {network.model for network in C.kept_networks()}
            for split in ("train", "validation")
        },
        clean_accuracy="results/tables/clean_accuracy.csv",
    output:
        "results/reference_models/manifest.json",
    log:
        "logs/reference_models.log",
    benchmark:
        "logs/reference_models.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        networks={
            f"{n.model}/{n.training}": {
                **C.manifest_entry(n.model, n.training),
                "code_sha256": training_code(n.model, n.training),
            }
            for n in C.kept_networks()
        },
        code=code("keep_reference_models.py"),
    script:
        "../workflow_scripts/keep_reference_models.py"
