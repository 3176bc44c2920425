# From tables to figures, notebooks and their pages.
from qnn_robustness.configuration import reports
from qnn_robustness.configuration.checks.figures import check_asked

TABLES = [
    "headline",
    "clean_accuracy",
    "class_accuracy",
    "class_balance",
    "robust_accuracy",
    "attacks",
    "worst_case",
    "defenses",
    "device_cost",
    "cost_and_robustness",
    "paired_tests",
    "paired_sources",
    "paired_attacks",
    "paired_worst_cases",
    "findings",
    "integer_model_exactness",
    *(["detection", "detection_roc"] if C.detections() else []),
    *(DIAGNOSTIC_TABLES if C.diagnosed() else []),
]
# A figure named after a table of the whole run draws that table; any other draws the experiments that feed it.
TABLES_OF_FIGURES = {"clean_accuracy": {"clean_accuracy": ["results/tables/clean_accuracy.csv"]}}
if C.has_worst_case():
    TABLES_OF_FIGURES["worst_case"] = {"worst_case": ["results/tables/worst_case.csv"]}
FIGURES_OF_DIAGNOSTICS = {
    "gradient_magnitudes": ["gradient_magnitudes"],
    "gradient_alignment": ["gradient_alignment"],
    "quantization_shift": ["quantization_shift"],
    "boundary_distance": ["boundary_distance", "boundary_distance_tests"],
    "loss_surfaces": ["loss_surfaces"],
    "transfer_explained": ["transfer_explained", "transfer_bins"],
}
if C.diagnosed():
    for figure, names in FIGURES_OF_DIAGNOSTICS.items():
        TABLES_OF_FIGURES[figure] = {name: [f"results/tables/{name}.csv"] for name in names}
for figure in C.figures():
    if figure == "examples":
        TABLES_OF_FIGURES[figure] = files_of_examples()
    if figure in TABLES:
        TABLES_OF_FIGURES.setdefault(figure, {figure: [f"results/tables/{figure}.csv"]})
    TABLES_OF_FIGURES.setdefault(
        figure,
        {
            "robust_accuracy": expand(
                "results/tables/experiments/{experiment}.csv",
                experiment=C.feeding(figure),
            )
        },
    )
if workflow.is_main_process:
    try:
        check_asked(sys.argv, TABLES_OF_FIGURES)  # Snakemake itself looks at targets after the rules
    except UserError as error:
        sys.exit(f"error: {error}")
REPORTS = reports.planned(ROOT / "notebooks", TABLES_OF_FIGURES)
SOUND = C.crafted_sound()
PAGES = {
    **{notebook.name: notebook.title for notebook in REPORTS},
    **({"sound": "Adversarial sound"} if SOUND else {}),
}


for figure, tables in TABLES_OF_FIGURES.items():

    rule:
        name:
            f"plot_{figure}"
        input:
            **tables,
        output:
            svg=report(
                f"results/figures/{figure}.svg",
                caption=f"../docs/captions/{figure}.rst",
                category="Figures",
                labels={"figure": figure.replace("_", " "), "format": "SVG"},
            ),
            png=report(
                f"results/figures/{figure}.png",
                caption=f"../docs/captions/{figure}.rst",
                category="Figures",
                labels={"figure": figure.replace("_", " "), "format": "PNG"},
            ),
        log:
            f"logs/figures/{figure}.log",
        benchmark:
            f"logs/figures/{figure}.tsv"
        conda:
            "../envs/workflow.yaml"
        params:
            figure=figure,
            code=code("plot_figure.py", module_name("figures", figure)),
        script:
            "../workflow_scripts/plot_figure.py"


for notebook in REPORTS:

    rule:
        name:
            f"report_{notebook.name}"
        input:
            tables=expand("results/tables/{table}.csv", table=notebook.tables),
            figures=expand("results/figures/{figure}.svg", figure=notebook.figures),
        output:
            notebook=f"results/reports/{notebook.name}.ipynb",
            html=report(
                f"results/reports/{notebook.name}.html",
                caption=f"../docs/captions/reports/{notebook.name}.rst",
                category="Reports",
                labels={"report": notebook.title},
            ),
        log:
            f"logs/reports/{notebook.name}.log",
        benchmark:
            f"logs/reports/{notebook.name}.tsv"
        conda:
            "../envs/workflow.yaml"
        params:
            notebook=f"notebooks/{notebook.name}.ipynb",
            parameters={
                "tables": {table: f"results/tables/{table}.csv" for table in notebook.tables},
                "figures": {figure: f"results/figures/{figure}.svg" for figure in notebook.figures},
                "reports": {
                    name: title for name, title in PAGES.items() if notebook.name == "index" and name != "index"
                },
            },
            text=notebook.text_sha256,
            code=[
                code("run_notebook.py"),
                code_hash(ROOT / "notebooks" / f"{notebook.name}.ipynb"),
            ],
        script:
            "../workflow_scripts/run_notebook.py"


rule play_sound:
    input:
        adversarial=[f"results/adversarial/{job.model}/{job.training}/{job.source}/{job.attack}.npz" for job in SOUND],
        clean=[clean_file(job.model, job.training, C.fronts(job.attack)[0], job.source) for job in SOUND],
        test=[f"results/data/{C.dataset_of(job.model)}/test.npz" for job in SOUND],
        summary=[f"results/data/{C.dataset_of(job.model)}/summary.json" for job in SOUND],
    output:
        report(
            "results/reports/sound.html",
            caption="../docs/captions/reports/sound.rst",
            category="Reports",
            labels={"report": "Adversarial sound"},
        ),
    log:
        "logs/reports/sound.log",
    benchmark:
        "logs/reports/sound.tsv"
    conda:
        "../envs/workflow.yaml"
    params:
        titles=[f"{job.model}, {job.training}: {job.attack} on {job.source}" for job in SOUND],
        code=code("play_sound.py"),
    script:
        "../workflow_scripts/play_sound.py"
