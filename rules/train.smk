# From splits to float32 networks.


rule train_model:
    input:
        unpack(needed_for_training),
        train=data_of("train"),
        validation=data_of("validation"),
    output:
        network="results/models/{model}/{training}/float32.keras",
        history="results/models/{model}/{training}/training.csv",
    log:
        "logs/models/{model}/{training}/float32.log",
    benchmark:
        "logs/models/{model}/{training}/float32.tsv"
    wildcard_constraints:
        training="(?!pretrained/)[a-z][a-z0-9_]*",
    conda:
        "../envs/workflow.yaml"
    threads: C.values["training_threads"]
    resources:
        mem_mb=MEMORY,
    params:
        name="{model}/{training}",
        architecture=lambda w: C.model(w.model)["architecture"],
        recipe=lambda w: ordered(C.recipe(w.model, w.training)),
        seed=C.values["seed"],
        recipe_sha256=lambda w: C.recipe_sha256(w.model, w.training),
        reference_models=C.values["reference_models"],
        code=lambda w: training_code(w.model, w.training),
    script:
        "../workflow_scripts/train_model.py"


# What is likely to be an image of a data set.
rule train_density_model:
    input:
        train=lambda w: f"results/data/{C.density(w.density)['dataset']}/train.npz",
        validation=lambda w: f"results/data/{C.density(w.density)['dataset']}/validation.npz",
    output:
        density="results/densities/{density}/density.npz",
        history="results/densities/{density}/training.csv",
    log:
        "logs/densities/{density}.log",
    benchmark:
        "logs/densities/{density}.tsv"
    conda:
        "../envs/workflow.yaml"
    threads: C.values["training_threads"]
    resources:
        mem_mb=MEMORY,
    params:
        name="densities/{density}",
        made_with=lambda w: ordered(C.density_provenance(w.density)),
        reference_models=C.values["reference_models"],
        code=code("train_density_model.py"),
    script:
        "../workflow_scripts/train_density_model.py"


# Adversarial versions of all training samples, for ensemble adversarial training: made once for each static network.
rule craft_static:
    input:
        network=lambda w: network_file(w.model, w.training, "float32"),
        train=data_of("train"),
    output:
        "results/static/{model}/{training}/{attack}.npz",
    log:
        "logs/static/{model}/{training}/{attack}.log",
    benchmark:
        "logs/static/{model}/{training}/{attack}.tsv"
    conda:
        "../envs/workflow.yaml"
    resources:
        mem_mb=MEMORY,
    params:
        attack=lambda w: ordered(C.static_crafting(w.attack)),
        source_module=lambda w: C.source_module(w.model, "float32", w.attack),
        code=lambda w: code(
            "craft_static.py",
            module_name("attacks", C.attack(w.attack)["method"]),
            C.source_module(w.model, "float32", w.attack),
        ),
    script:
        "../workflow_scripts/craft_static.py"
