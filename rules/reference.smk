# The networks and density models that are kept with the project. `snakemake keep_reference_models` collects those of this
# run in results/reference_models, from where they are copied to reference_models/ by hand.
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
        [
            f"results/densities/{density}/{file}"
            for density in C.kept_densities()
            for file in ("density.npz", "training.csv")
        ],
        **{
            f"{dataset}_{split}": f"results/data/{dataset}/{split}.npz"
            for dataset in C.kept_datasets()
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
            f"{n.model}/{n.training}": (
                C.dataset_of(n.model),
                {
                    **C.manifest_entry(n.model, n.training),
                    "code_sha256": training_code(n.model, n.training),
                },
            )
            for n in C.kept_networks()
        },
        densities={
            density: (
                C.density(density)["dataset"],
                {
                    **C.density_manifest_entry(density),
                    "code_sha256": code("train_density_model.py"),
                },
            )
            for density in C.kept_densities()
        },
        code=code("keep_reference_models.py"),
    script:
        "../workflow_scripts/keep_reference_models.py"
