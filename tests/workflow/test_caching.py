"""What is planned again after a change: each time the whole plan, compared with what the change may touch.

The expected plan comes from the graph of all jobs: the jobs that a change concerns, and what depends on them.
"""

from __future__ import annotations

import hashlib
import json
import os
import subprocess
import time
from itertools import product
from pathlib import Path

import pytest
import yaml
from plan import REPOSITORY, TINY, Finished, Plan, Workflow, copy_repository, of_rules, with_dependents, with_needs

LIBRARY = "workflow_scripts/qnn_robustness"


def statement(text: str) -> str:
    """Add a statement that runs and does nothing."""
    return f"{text}\n_CHANGED = 1\n"


# --- the first plan, and the second ---------------------------------------------------------------------


def test_the_first_plan_makes_each_point_of_the_grid_once(finished: Finished) -> None:
    values = yaml.safe_load((REPOSITORY / TINY).read_text())
    crafted, evaluated, clean, quantized = set(), set(), set(), set()
    for name in values["run"]:
        entry = values["experiments"][name]
        axes = [
            entry["models"],
            entry.get("trainings", ["standard"]),
            entry.get("sources", ["float32"]),
            entry["attacks"],
            entry.get("preprocessors", ["none"]),
            entry["targets"],
        ]
        for model, training, source, attack, preprocessor, target in product(*axes):
            network = f"{model}/{training}"
            crafted.add(f"results/adversarial/{network}/{source}/{attack}.npz")
            evaluated.add(f"results/evaluations/{network}/{source}/{attack}/{preprocessor}/{target}.parquet")
            clean.add(f"results/evaluations/{network}/clean/{preprocessor}/{target}.parquet")
            clean.add(f"results/evaluations/{network}/clean/none/{source}.parquet")
            quantized |= {f"results/models/{network}/{p}.tflite" for p in (source, target) if p != "float32"}
    diagnosed = {name for job in of_rules(finished.before, "diagnose_*") for name in job.inputs}
    quantized |= {name for name in diagnosed if name.endswith(".tflite")}
    for rule, expected in (
        ("craft_adversarial", crafted),
        ("evaluate_adversarial", evaluated),
        ("evaluate_clean", clean),
        ("quantize_model", quantized),
    ):
        jobs = of_rules(finished.before, rule)
        assert {job.outputs[0] for job in jobs} == expected
        assert len(jobs) == len(expected)


def test_all_that_was_planned_was_made(finished: Finished) -> None:
    assert finished.graph == finished.before
    assert {output for job in finished.before for output in job.outputs} <= set(finished.workflow.products())


def test_nothing_half_written_is_left(finished: Finished) -> None:
    assert [path for path in finished.workflow.folder.rglob(".partial-*")] == []


def test_a_second_run_plans_nothing(finished: Finished) -> None:
    assert finished.workflow.plan() == frozenset()


# --- what changes no content ----------------------------------------------------------------------------


@pytest.mark.parametrize("folder", [".", "results", "workflow_scripts"])
def test_touching_files_plans_nothing(workflow: Workflow, folder: str) -> None:
    later = time.time() + 3600
    for path in workflow.path(folder).rglob("*"):
        if path.is_file() and ".snakemake" not in path.parts:
            os.utime(path, (later, later))
    assert workflow.plan() == frozenset()


def test_touching_one_intermediate_file_plans_nothing(workflow: Workflow) -> None:
    workflow.path("results/models/digits_cnn/standard/float32.keras").touch()
    assert workflow.plan() == frozenset()


def test_a_change_of_content_does_count(workflow: Workflow, graph: Plan) -> None:
    changed = "results/models/digits_cnn/standard/int8.json"
    assert not any(changed in job.inputs for job in graph), "nothing reads the sidecar"
    changed = "results/evaluations/digits_cnn/standard/clean/none/int8.parquet"
    workflow.path(changed).write_bytes(b"another")
    seeds = [job for job in graph if changed in job.inputs]
    assert workflow.plan() == with_dependents(graph, seeds)


def test_switching_branches_plans_nothing(workflow: Workflow) -> None:
    def git(*arguments: str) -> None:
        identity = ["-c", "user.name=test", "-c", "user.email=test@example.org", "-c", "core.hooksPath="]
        subprocess.run(["git", *identity, *arguments], cwd=workflow.folder, check=True, capture_output=True)

    git("init", "-b", "main")
    git("add", ".")
    git("commit", "-m", "first")
    git("checkout", "-b", "other")
    for path in workflow.folder.rglob("*.py"):
        path.write_text(statement(path.read_text()))
    git("commit", "-a", "-m", "second")
    assert workflow.plan() != frozenset()
    git("checkout", "main")
    assert workflow.plan() == frozenset()


def test_large_inputs_are_compared_by_content_too(tmp_path: Path) -> None:
    """Inputs of more than 1 MB are compared by time stamp unless the profile says otherwise."""
    copy = Workflow(tmp_path)
    for name in ("profiles/default/profile.yaml", TINY):
        copy.path(name).parent.mkdir(parents=True, exist_ok=True)
        copy.path(name).write_bytes((REPOSITORY / name).read_bytes())
    copy.path("Snakefile").write_text(
        'rule copy:\n    input: "large"\n    output: "copied"\n    shell: "cp {input} {output}"\n'
    )
    large = copy.path("large")
    large.write_bytes(bytes(3_000_000))
    assert copy.run().status == 0
    os.utime(large, (time.time() + 3600,) * 2)
    assert copy.plan() == frozenset()
    large.write_bytes(bytes(2_999_999) + b"1")
    assert copy.plan() == copy.graph() != frozenset()


@pytest.mark.parametrize(
    "arguments", [("--cores", "1"), ("--set-threads", "train_model=2"), ("--printshellcmds", "--verbose")]
)
def test_threads_and_logs_plan_nothing(finished: Finished, arguments: tuple[str, ...]) -> None:
    assert finished.workflow.plan(*arguments) == frozenset()


def test_another_address_plans_nothing(tmp_path: Path) -> None:
    workflow = copy_repository(tmp_path / "copy")
    archive = tmp_path / "leaves.zip"
    archive.write_bytes(b"leaves")
    entry = {
        "format": "image_folder",
        "archive": archive.name,
        "checksum": f"sha256:{hashlib.sha256(b'leaves').hexdigest()}",
        "classes": ["healthy", "rust"],
        "image_shape": [8, 8, 3],
        "urls": ["https://example.invalid/leaves.zip"],
    }
    target = f"results/downloads/leaves/{archive.name}"
    fetched = workflow.run(target, change={"mirrors": [str(tmp_path)], "datasets": {"leaves": entry}})
    assert fetched.status == 0, fetched.output
    moved = {**entry, "urls": ["https://example.com/leaves.zip"]}
    assert workflow.plan(target, change={"mirrors": ["/elsewhere"], "datasets": {"leaves": moved}}) == frozenset()
    other = {**entry, "checksum": f"sha256:{hashlib.sha256(b'other leaves').hexdigest()}"}
    assert workflow.plan(target, change={"datasets": {"leaves": other}}) != frozenset()


def test_values_that_are_repeated_in_another_order_plan_nothing(workflow: Workflow) -> None:
    def turned_round(value: object) -> object:
        return {key: turned_round(value[key]) for key in reversed(value)} if isinstance(value, dict) else value

    values = yaml.safe_load((REPOSITORY / TINY).read_text())
    change = {section: turned_round(values[section]) for section in ("datasets", "models", "attacks")}
    assert workflow.plan(change=change) == frozenset()


def test_experiments_and_attacks_that_are_not_run_plan_nothing(workflow: Workflow) -> None:
    change = {
        "attacks": {"unused": {"method": "fgsm", "norm": "linf", "budgets": ["8/255"]}},
        "experiments": {"unused": {"models": ["digits_cnn"], "attacks": ["unused"]}},
    }
    assert workflow.plan(change=change) == frozenset()


# --- parameters -----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("change", "rule", "wildcards"),
    [
        (
            {"attacks": {"pgd_linf": {"parameters": {"steps": 6}}}},
            "craft_adversarial",
            {"attack": "pgd_linf"},
        ),
        ({"attacks": {"pgd_linf": {"budgets": ["9/255"]}}}, "craft_adversarial", {"attack": "pgd_linf"}),
        ({"attacks": {"deepfool_l2": {"samples": 19}}}, "craft_adversarial", {"attack": "deepfool_l2"}),
        (
            {"attacks": {"deepfool_l2": {"protocol": "paper"}}},
            "evaluate_adversarial",
            {"attack": "deepfool_l2"},
        ),
        (
            {"trainings": {"pgd_adversarial": {"momentum": 0.8}}},
            "train_model",
            {"training": "pgd_adversarial"},
        ),
        ({"models": {"digits_cnn": {"output": "softmax"}}}, "quantize_model", {}),
        (
            {"preprocessors": {"bit_depth_4": {"parameters": {"bits": 3}}}},
            "evaluate_*",
            {"preprocessor": "bit_depth_4"},
        ),
        ({"datasets": {"digits": {"validation_samples": 101}}}, "prepare_dataset", {}),
    ],
    ids=lambda value: next(iter(value)) if isinstance(value, dict) and value else None,
)
def test_a_parameter_replans_its_jobs_and_their_dependents(
    workflow: Workflow, graph: Plan, change: dict, rule: str, wildcards: dict[str, str]
) -> None:
    seeds = of_rules(graph, rule, **wildcards)
    assert seeds
    if "preprocessors" in change:  # its work on a device depends on them, too
        seeds |= of_rules(graph, "measure_device_cost")
    assert workflow.plan(change=change) == with_dependents(graph, seeds)
    assert workflow.plan() == frozenset(), "after the change was taken back"


def test_a_change_of_kernels_replans_what_runs_on_them(workflow: Workflow, graph: Plan) -> None:
    plan = workflow.plan(change={"kernels": {"int8": ["reference", "builtin", "xnnpack"]}})
    # the first kernel set stays, and with it what is attacked and reported
    assert plan == with_dependents(graph, of_rules(graph, "evaluate_*", target="int8"))


def test_a_default_in_the_schema_replans_the_jobs_of_its_method(workflow: Workflow, graph: Plan) -> None:
    def change(text: str) -> str:
        schema = yaml.safe_load(text)
        schema["$defs"]["attack_parameters"]["deepfool"]["properties"]["overshoot"]["default"] = 0.03
        return yaml.safe_dump(schema, sort_keys=False)

    workflow.edit("schemas/config.schema.yaml", change)
    seeds = of_rules(graph, "craft_adversarial", attack="deepfool_l2")
    assert workflow.plan() == with_dependents(graph, seeds)


# --- code -----------------------------------------------------------------------------------------------

EVERY_JOB = ("*", {})
CODE = {
    # one entry of a registry: the jobs that select it
    "attacks/pgd.py": [("craft_adversarial", {"attack": "pgd_linf"})],
    "attacks/hop_skip_jump.py": [("craft_adversarial", {"attack": "hop_skip_jump_fast"})],
    "training/pgd_adversarial.py": [("train_model", {"training": "pgd_adversarial"})],
    "models/small_cnn.py": [("train_model", {})],
    "defenses/bit_depth.py": [("evaluate_*", {"preprocessor": "bit_depth_4"}), ("measure_device_cost", {})],
    "data/formats/digits.py": [("prepare_dataset", {})],
    # what entries share
    "attacks/crafting/craft.py": [("craft_adversarial", {})],
    "attacks/crafting/sources/tflite_file.py": [("craft_adversarial", {"source": "int8"})],
    "attacks/crafting/sources/keras_network.py": [("craft_adversarial", {"source": "float32"})],
    "training/fitting/fit.py": [("train_model", {})],
    "quantization/convert.py": [("quantize_model", {})],
    "quantization/tflite_model.py": [
        ("quantize_model", {}),
        ("craft_adversarial", {"source": "int8"}),
        ("evaluate_*", {"target": "int8"}),
        ("diagnose_*", {}),
    ],
    "quantization/integer_model/model.py": [("diagnose_*", {})],
    "evaluation/records.py": [("evaluate_*", {})],
    "evaluation/tables.py": [("tabulate_*", {}), ("plot_*", {})],
    "figures/transfer_matrix.py": [("plot_transfer_matrix", {})],
    "figures/defenses.py": [("plot_defenses", {})],
    "figures/distortion.py": [("plot_distortion", {})],
    "figures/shared/style.py": [("plot_*", {})],
    "common/notebooks.py": [("report_*", {})],
    "common/job.py": [EVERY_JOB],
    "common/errors.py": [EVERY_JOB],
}
UNUSED = [
    # entries that no job of this configuration selects
    "attacks/boundary.py",
    "models/resnet8.py",
    "data/formats/image_folder.py",
    "data/download.py",
    "attacks/crafting/sources/integer_model.py",
    "figures/detection_roc.py",
    # what plans, and runs in no job
    "configuration/configuration.py",
    "common/code_hash.py",
]


def module_of(name: str) -> str:
    return f"qnn_robustness.{name.removesuffix('.py').replace('/', '.')}"


@pytest.mark.parametrize("name", CODE)
def test_editing_a_module_replans_the_jobs_that_use_it(workflow: Workflow, finished: Finished, name: str) -> None:
    graph = finished.graph
    seeds = frozenset().union(*(of_rules(graph, rule, **wildcards) for rule, wildcards in CODE[name]))
    workflow.edit(f"{LIBRARY}/{name}", statement)
    assert workflow.plan() == with_dependents(graph, seeds)
    imported = {job for job in graph if module_of(name) in finished.imported[job.outputs[0]]}
    assert imported <= seeds, "jobs that did import the module when they ran"


def test_editing_modules_that_no_job_uses_plans_nothing(workflow: Workflow, finished: Finished) -> None:
    for name in UNUSED:
        workflow.edit(f"{LIBRARY}/{name}", statement)
    assert workflow.plan() == frozenset()
    imported = frozenset().union(*finished.imported.values())
    assert not imported & {module_of(name) for name in UNUSED}, "modules that a job did import when it ran"


def test_an_edit_that_is_taken_back_plans_nothing(workflow: Workflow) -> None:
    name = f"{LIBRARY}/common/errors.py"
    workflow.edit(name, statement)
    workflow.edit(name, lambda text: text.removesuffix(statement("")))
    assert workflow.plan() == frozenset()


def test_editing_a_script_replans_its_rule(workflow: Workflow, graph: Plan) -> None:
    workflow.edit("workflow_scripts/evaluate_clean.py", statement)
    assert workflow.plan() == with_dependents(graph, of_rules(graph, "evaluate_clean"))


def edit_cells(workflow: Workflow, name: str, kind: str, text: str) -> None:
    """Append a line to the last cell of one kind."""

    def change(content: str) -> str:
        notebook = json.loads(content)
        [*_, cell] = [cell for cell in notebook["cells"] if cell["cell_type"] == kind]
        cell["source"] = [*cell["source"], f"\n{text}"]
        return json.dumps(notebook, indent=1)

    workflow.edit(f"notebooks/{name}.ipynb", change)


@pytest.mark.parametrize(("kind", "text"), [("code", "_CHANGED = 1"), ("markdown", "One more sentence.")])
def test_editing_a_notebook_replans_its_report(workflow: Workflow, graph: Plan, kind: str, text: str) -> None:
    edit_cells(workflow, "white_box", kind, text)
    assert workflow.plan() == with_dependents(graph, of_rules(graph, "report_white_box"))


def test_a_comment_in_a_notebook_and_its_outputs_replan_nothing(workflow: Workflow) -> None:
    edit_cells(workflow, "white_box", "code", "# One more comment.")

    def run(content: str) -> str:
        notebook = json.loads(content)
        for number, cell in enumerate(notebook["cells"]):
            if cell["cell_type"] == "code":
                cell["execution_count"] = number
                cell["outputs"] = [{"output_type": "stream", "name": "stdout", "text": ["text"]}]
        return json.dumps(notebook)

    workflow.edit("notebooks/white_box.ipynb", run)
    assert workflow.plan() == frozenset()


def _commented(text: str) -> str:
    return f'"""Another docstring."""\n# Another comment.\n{text}\n\n# One more.\n'


def test_comments_and_docstrings_replan_nothing(workflow: Workflow) -> None:
    for path in workflow.path("workflow_scripts").rglob("*.py"):
        if "__future__" not in path.read_text():  # which has to stay first, but for a docstring
            path.write_text(_commented(path.read_text()))
        else:
            path.write_text(f"# Another comment.\n{path.read_text()}\n# One more.\n")
    assert workflow.plan() == frozenset()


PINS = {
    "foolbox": [("craft_adversarial", {}), ("diagnose_*", {})],
    "seaborn": [("plot_*", {})],
    "papermill": [("report_*", {})],
    "tensorflow": [
        ("train_model", {}),
        ("quantize_model", {}),
        ("craft_adversarial", {}),  # the loop that all attacks share makes tensors where the source is float32
        ("evaluate_*", {"target": "float32"}),
        ("diagnose_*", {}),
    ],
    "snakemake": [],
}


@pytest.mark.parametrize("distribution", PINS)
def test_a_changed_pin_replans_the_users_of_the_package(workflow: Workflow, graph: Plan, distribution: str) -> None:
    def change(text: str) -> str:
        lines = text.splitlines()
        return "\n".join(f"{distribution}==99.0 \\" if line.startswith(f"{distribution}==") else line for line in lines)

    workflow.edit("requirements.lock", change)
    seeds = frozenset().union(*(of_rules(graph, rule, **wildcards) for rule, wildcards in PINS[distribution]))
    assert workflow.plan() == with_dependents(graph, seeds)


# --- growing --------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "change",
    [
        {
            "attacks": {"new": {"method": "fgsm", "norm": "linf", "budgets": ["8/255"], "samples": 20}},
            "experiments": {"white_box": {"attacks": ["pgd_linf", "deepfool_l2", "new"]}},
        },
        {
            "experiments": {
                "new": {"models": ["digits_cnn"], "attacks": ["pgd_linf"], "targets": ["int16"]},
            },
            "run": ["white_box", "decision", "new"],
        },
    ],
    ids=["attack", "experiment"],
)
def test_an_addition_plans_new_jobs_and_the_tables_they_enter(workflow: Workflow, graph: Plan, change: dict) -> None:
    larger = workflow.graph(change=change)
    new = larger - graph
    assert {"craft_adversarial", "evaluate_adversarial"} & {job.rule for job in new}
    before = {job: set(job.inputs) for job in graph}
    grown = {job for job in larger if set(job.inputs) != before.get(job, set(job.inputs))}
    assert workflow.plan(change=change) == with_dependents(larger, new | grown)
    assert not of_rules(new | grown, "prepare_dataset", "train_model")


# --- parts ----------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("short", "file", "unneeded"),
    [
        ("plot_distortion", "results/figures/distortion.svg", {"attack": "pgd_linf"}),
        ("plot_transfer_matrix", "results/figures/transfer_matrix.png", {"attack": "hop_skip_jump_fast"}),
        ("tabulate_clean_accuracy", "results/tables/clean_accuracy.csv", {}),
    ],
)
def test_a_single_figure_or_table_plans_just_what_it_needs(
    unmade: Workflow, graph: Plan, short: str, file: str, unneeded: dict[str, str]
) -> None:
    needed = with_needs(graph, file)
    assert unmade.plan(file) == needed
    assert unmade.plan(short) == needed
    assert not of_rules(needed, "craft_adversarial", **unneeded)
    assert not of_rules(needed - of_rules(needed, short), "plot_*", "report_*")
