# From networks to adversarial samples: one job for one (model, training, source, attack).
rule craft_adversarial:
    input:
        unpack(warm_start),
        unpack(watched),
        network=attacked_files,
        densities=lambda w: C.density_files([C.through(w.attack)]),
        test=data_of("test"),
    output:
        "results/adversarial/{model}/{training}/{source}/{attack}.npz",
    log:
        "logs/adversarial/{model}/{training}/{source}/{attack}.log",
    benchmark:
        "logs/adversarial/{model}/{training}/{source}/{attack}.tsv"
    conda:
        "../envs/workflow.yaml"
    resources:
        mem_mb=MEMORY,
    params:
        name="{attack}",
        attack=lambda w: ordered(C.crafting(w.attack)),
        kernels=lambda w: C.search_kernels(w.source, w.attack),
        source_module=lambda w: C.source_module(w.model, w.source, w.attack),
        code=lambda w: code(
            "craft_adversarial.py",
            module_name("attacks", C.attack(w.attack)["method"]),
            C.source_module(w.model, w.source, w.attack),
            *dict.fromkeys(module for front in C.fronts(w.attack) for module in preprocessor_modules(front)),
        ),
    script:
        "../workflow_scripts/craft_adversarial.py"
