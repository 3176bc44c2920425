# From records to tables, and from tables to tables of the whole run.
rule tabulate_experiment:
    input:
        records=lambda w: records_of(w.experiment),
    output:
        "results/tables/experiments/{experiment}.csv",
    log:
        "logs/tables/experiments/{experiment}.log",
    benchmark:
        "logs/tables/experiments/{experiment}.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        table="robust_accuracy",
        code=code("make_table.py"),
    script:
        "../workflow_scripts/make_table.py"


RECORDS = [path for experiment in C.experiments for path in records_of(experiment)]
CLEAN_RECORDS = [clean_file(*point) for point in C.clean_evaluations()]
CLEAN_MODELS = list(dict.fromkeys(point[0] for point in C.clean_evaluations()))
SUMMARIES = [f"results/data/{dataset}/summary.json" for dataset in dict.fromkeys(map(C.dataset_of, CLEAN_MODELS))]
# Targets under the same attack; white-box against transferred samples; attacks against each other.
PAIRED_TABLES = {"paired_tests": "target", "paired_sources": "source", "paired_attacks": "attack"}
# What findings take from the diagnostics.
DIAGNOSED = ["boundary_distance_tests", "gradient_shares", "gradient_alignment", "quantization_shift_shares"]
# Each table with the function of evaluation.tables that makes it, its inputs and its arguments.
MADE_TABLES = {
    "robust_accuracy": (
        "concatenation",
        {"tables": expand("results/tables/experiments/{experiment}.csv", experiment=C.experiments)},
        {},
    ),
    "clean_accuracy": ("clean_accuracy", {"records": CLEAN_RECORDS}, {}),
    "class_accuracy": (
        "class_accuracy",
        {"records": CLEAN_RECORDS, "summaries": SUMMARIES},
        {"datasets": {model: C.dataset_of(model) for model in CLEAN_MODELS}},
    ),
    "class_balance": ("class_balance", {"summaries": SUMMARIES}, {}),
    "worst_case": ("worst_case", {"records": RECORDS, "detections": detections()}, {}),
    "defenses": ("defenses", {"records": RECORDS, "detections": detections()}, {}),
    "paired_worst_cases": (
        "paired_worst_cases",
        {"records": RECORDS, "detections": detections()},
        {"kernels": C.compared_kernels},
    ),
    **{
        table: ("paired_tests", {"records": RECORDS}, {"kernels": C.compared_kernels, "compared": compared})
        for table, compared in PAIRED_TABLES.items()
    },
    **{table: (table, {"records": detections()}, {}) for table in ("detection", "detection_roc")},
    "integer_model_exactness": (
        "integer_model_exactness",
        {
            "tables": [
                f"results/diagnostics/{network.model}/{network.training}/integer_model_{precision}.csv"
                for network in C.networks()
                for precision in ("int8", "int16")
                if precision in C.precisions(network.model) and C.has_integer_model(network.model, precision)
            ]
        },
        {},
    ),
    "cost_and_robustness": (
        "cost_and_robustness",
        {
            "device_cost": "results/tables/device_cost.csv",
            "defenses": "results/tables/defenses.csv",
        },
        {},
    ),
    "findings": (
        "findings",
        {
            table: f"results/tables/{table}.csv"
            for table in ("robust_accuracy", "paired_tests", *(DIAGNOSED if C.diagnosed() else ()))
        },
        {"undefended": C.undefended()},
    ),
    "headline": (
        "headline",
        {
            "clean_accuracy": "results/tables/clean_accuracy.csv",
            "defenses": "results/tables/defenses.csv",
        },
        {"kernels": C.compared_kernels},
    ),
    "attacks": (
        "attacks",
        {"robust_accuracy": "results/tables/robust_accuracy.csv"},
        {"kernels": C.compared_kernels},
    ),
}


for table, (function, inputs, arguments) in MADE_TABLES.items():

    rule:
        name:
            f"tabulate_{table}"
        input:
            **inputs,
        output:
            f"results/tables/{table}.csv",
        log:
            f"logs/tables/{table}.log",
        benchmark:
            f"logs/tables/{table}.tsv"
        conda:
            "../envs/workflow.yaml"
        params:
            table=function,
            arguments=arguments,
            code=code("make_table.py"),
        script:
            "../workflow_scripts/make_table.py"
