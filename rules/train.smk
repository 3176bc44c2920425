# From splits to float32 networks.


rule train_model:
    input:
        unpack(initial_network),
        train=data_of("train"),
        validation=data_of("validation"),
    output:
        network="results/models/{model}/{training}/float32.keras",
        history="results/models/{model}/{training}/training.csv",
    log:
        "logs/models/{model}/{training}/float32.log",
    benchmark:
        "logs/models/{model}/{training}/float32.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: C.values["training_threads"]
    params:
        name="{model}/{training}",
        architecture=lambda w: C.model(w.model)["architecture"],
        recipe=lambda w: C.recipe(w.model, w.training),
        seed=C.values["seed"],
        recipe_sha256=lambda w: C.recipe_sha256(w.model, w.training),
        reference_models=C.values["reference_models"],
        code=lambda w: training_code(w.model, w.training),
    script:
        "../workflow_scripts/train_model.py"
