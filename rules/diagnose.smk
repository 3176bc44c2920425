# What the networks reveal beside their robustness.

# The questions that need the networks themselves, with the settings that each depends on.
NETWORK_QUESTIONS = {
    "gradients": ["probed_values"],
    "gradient_alignment": ["probed_values"],
    "quantization_shift": ["perturbation_sizes"],
    "loss_surfaces": ["surface_points", "surface_radius"],
}
# The tables of the diagnostics by the question that they sum up; a figure may have the name of a table.
TABLES_OF_QUESTIONS = {
    "gradients": ["gradient_shares", "gradient_magnitudes"],
    "gradient_alignment": ["gradient_alignment"],
    "quantization_shift": ["quantization_shift", "quantization_shift_shares"],
    "loss_surfaces": ["loss_surfaces"],
    "boundary_distance": ["boundary_distance", "boundary_distance_tests"],
    "transfer": ["transfer_explained", "transfer_bins"],
}
DIAGNOSTIC_TABLES = ["masking", *(table for tables in TABLES_OF_QUESTIONS.values() for table in tables)]


for question, settings in NETWORK_QUESTIONS.items():

    rule:
        name:
            f"diagnose_{question}"
        input:
            float32="results/models/{model}/{training}/float32.keras",
            int16="results/models/{model}/{training}/int16.tflite",
            int8="results/models/{model}/{training}/int8.tflite",
            test=data_of("test"),
        output:
            f"results/diagnostics/{{model}}/{{training}}/{question}.parquet",
        log:
            f"logs/diagnostics/{{model}}/{{training}}/{question}.log",
        benchmark:
            f"logs/diagnostics/{{model}}/{{training}}/{question}.tsv"
        conda:
            "../envs/workflow.yaml"
        resources:
            mem_mb=MEMORY,
        params:
            question=question,
            kernels=C.reported_kernels,
            samples=C.diagnostics["surface_samples" if question == "loss_surfaces" else "samples"],
            parameters={
                "seed": C.values["seed"],
                **{setting: C.diagnostics[setting] for setting in settings},
            },
            code=code("diagnose_network.py", module_name("evaluation.diagnostics", question)),
        script:
            "../workflow_scripts/diagnose_network.py"


rule diagnose_boundary_distance:
    input:
        own=lambda w: boundary_records(w.model, w.training),
    output:
        "results/diagnostics/{model}/{training}/boundary_distance.parquet",
    log:
        "logs/diagnostics/{model}/{training}/boundary_distance.log",
    benchmark:
        "logs/diagnostics/{model}/{training}/boundary_distance.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        question="boundary_distance",
        records=["own"],
        kernels=C.reported_kernels,
        code=code("diagnose_records.py", module_name("evaluation.diagnostics", "boundary_distance")),
    script:
        "../workflow_scripts/diagnose_records.py"


rule diagnose_transfer:
    input:
        attacks=lambda w: grid_records(w.model, w.training),
        gradient_alignment=["results/diagnostics/{model}/{training}/gradient_alignment.parquet"],
        quantization_shift=["results/diagnostics/{model}/{training}/quantization_shift.parquet"],
        boundary_distance=["results/diagnostics/{model}/{training}/boundary_distance.parquet"],
    output:
        "results/diagnostics/{model}/{training}/transfer.parquet",
    log:
        "logs/diagnostics/{model}/{training}/transfer.log",
    benchmark:
        "logs/diagnostics/{model}/{training}/transfer.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        question="transfer",
        records=[
            "attacks",
            "gradient_alignment",
            "quantization_shift",
            "boundary_distance",
        ],
        kernels=C.reported_kernels,
        code=code("diagnose_records.py", module_name("evaluation.diagnostics", "transfer")),
    script:
        "../workflow_scripts/diagnose_records.py"


rule tabulate_masking:
    input:
        [path for n in C.diagnosed() for path in (*grid_records(*n), *boundary_records(*n))],
    output:
        "results/tables/masking.csv",
    log:
        "logs/tables/masking.log",
    benchmark:
        "logs/tables/masking.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        table="masking",
        code=code(
            "tabulate_diagnostics.py",
            module_name("evaluation.diagnostics.tables", "masking"),
        ),
    script:
        "../workflow_scripts/tabulate_diagnostics.py"


for question, tables in TABLES_OF_QUESTIONS.items():
    for table in tables:

        rule:
            name:
                f"tabulate_{table}"
            input:
                answers(question),
            output:
                f"results/tables/{table}.csv",
            log:
                f"logs/tables/{table}.log",
            benchmark:
                f"logs/tables/{table}.tsv"
            conda:
                "../envs/workflow.yaml"
            params:
                table=table,
                code=code(
                    "tabulate_diagnostics.py",
                    module_name("evaluation.diagnostics.tables", table),
                ),
            script:
                "../workflow_scripts/tabulate_diagnostics.py"


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
    resources:
        mem_mb=MEMORY,
    params:
        inputs=1000,
        attacked=lambda w: C.kernels(w.precision)[0],
        code=code("check_integer_model.py"),
    script:
        "../workflow_scripts/check_integer_model.py"


rule measure_device_cost:
    input:
        sorted({path for network in deployed_networks() for path in network["paths"]}),
        densities=C.density_files(defense for network in deployed_networks() for defense in network["defenses"]),
    output:
        "results/tables/device_cost.csv",
    log:
        "logs/tables/device_cost.log",
    benchmark:
        "logs/tables/device_cost.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        networks=deployed_networks(),
        fronts=fronts_of_defenses(),
        densities=densities_of_detectors(),
        code=code(
            "measure_device_cost.py",
            *sorted(
                {
                    module_name("defenses", front["method"])
                    for fronts in fronts_of_defenses().values()
                    for front in fronts
                    if front["method"]
                }
            ),
        ),
    script:
        "../workflow_scripts/measure_device_cost.py"
