# What the networks reveal beside their robustness: so far, that the integer model is the deployed network.
rule diagnose_integer_model:
    input:
        network="results/models/{model}/{training}/{precision}.tflite",
        test=data_of("test"),
        adversarial=lambda w: crafted_on(w.model, w.training, w.precision),
    output:
        "results/diagnostics/{model}/{training}/integer_model_{precision}.csv",
    log:
        "logs/diagnostics/{model}/{training}/integer_model_{precision}.log",
    benchmark:
        "logs/diagnostics/{model}/{training}/integer_model_{precision}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        inputs=1000,
        code=code("check_integer_model.py"),
    script:
        "../workflow_scripts/check_integer_model.py"


rule tabulate_integer_model:
    input:
        tables=[
            f"results/diagnostics/{network.model}/{network.training}/integer_model_{precision}.csv"
            for network in C.networks()
            for precision in ("int8", "int16")
            if precision in C.precisions(network.model)
        ],
    output:
        "results/tables/integer_model_exactness.csv",
    log:
        "logs/tables/integer_model_exactness.log",
    benchmark:
        "logs/tables/integer_model_exactness.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        table="concatenation",
        code=code("make_table.py"),
    script:
        "../workflow_scripts/make_table.py"
