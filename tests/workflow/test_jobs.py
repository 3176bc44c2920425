"""What jobs import and reproduce, and what Snakemake reports about them."""

from __future__ import annotations

import json
import shutil
from pathlib import Path

import numpy as np
import pytest
import yaml
from plan import ENSEMBLE, TINY, Finished, Job, Plan, Workflow, of_rules
from snakemake.utils import update_config

from qnn_robustness.configuration.loading import load

NETWORK = "results/models/digits_cnn/standard/float32.keras"


def weights(path) -> list[np.ndarray]:
    import keras

    return keras.models.load_model(path, compile=False).get_weights()


# --- TensorFlow -----------------------------------------------------------------------------------------


def may_import_tensorflow(job: Job) -> bool:
    """Training and quantization may, and what runs a float32 network or the integer model."""
    return (
        job.rule in ("train_model", "quantize_model", "convert_float32", "diagnose_integer_model")
        or (job.rule == "craft_adversarial" and job.wildcards["source"] == "float32")
        or (job.rule in ("evaluate_clean", "evaluate_adversarial") and job.wildcards["target"] == "float32")
    )


def test_only_jobs_that_run_float32_networks_import_tensorflow(finished: Finished) -> None:
    packages = {"tensorflow", "keras", "tf_keras"}
    did = {job for job in finished.graph if packages & finished.imported[job.outputs[0]]}
    assert did == {job for job in finished.graph if may_import_tensorflow(job)}
    assert not any(packages & names for names in finished.kernels), "notebooks"


def test_every_job_was_seen(finished: Finished) -> None:
    assert set(finished.imported) == {job.outputs[0] for job in finished.graph}
    assert len(finished.kernels) == len(of_rules(finished.graph, "report_*")) > 0


# --- the same again -------------------------------------------------------------------------------------


def test_the_same_seed_and_threads_give_the_same_weights(workflow: Workflow) -> None:
    first = weights(workflow.path(NETWORK))
    result = workflow.run("--force", NETWORK)
    assert result.status == 0, result.output
    second = weights(workflow.path(NETWORK))
    assert len(first) == len(second) > 0
    for one, other in zip(first, second, strict=True):
        np.testing.assert_array_equal(one, other)


def test_jobs_without_tensorflow_give_the_same_bytes_again(workflow: Workflow, graph: Plan) -> None:
    again = [
        job.outputs[0]
        for job in of_rules(graph, "craft_adversarial", source="int8")
        | of_rules(graph, "evaluate_clean", target="int8", training="standard")
    ]
    before = workflow.products()
    result = workflow.run("--force", *again)
    assert result.status == 0, result.output
    assert workflow.products() == before
    assert workflow.plan() == frozenset()


# --- reference networks ---------------------------------------------------------------------------------

KEPT = "results/reference_models"
REUSE = {"reference_models": "reuse"}
DENSITY = ("results/densities/strokes/density.npz", "results/densities/strokes/training.csv")
WITH_DENSITY = {
    "densities": {"strokes": {"dataset": "digits", "epochs": 1}},
    "detectors": {"likelihood": {"density": "strokes", "false_positive_rate": 0.05}},
    "experiments": {"white_box": {"detectors": ["likelihood"]}},
}


@pytest.fixture(scope="module")
def with_references(finished: Finished, tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    """A copy that keeps its networks and a density model in reference_models/ and has lost them from results/."""
    workflow = finished.workflow.clone(tmp_path_factory.mktemp("references") / "copy")
    result = workflow.run(f"{KEPT}/manifest.json", change=WITH_DENSITY)
    assert result.status == 0, result.output
    shutil.rmtree(workflow.path("reference_models"), ignore_errors=True)
    shutil.move(workflow.path(KEPT), workflow.path("reference_models"))
    shutil.rmtree(workflow.path("results/models"))
    shutil.rmtree(workflow.path("results/densities"))
    return workflow


def test_a_matching_reference_network_is_taken_byte_for_byte(
    with_references: Workflow, finished: Finished, tmp_path
) -> None:
    workflow = with_references.clone(tmp_path / "copy")
    names = [
        f"results/models/digits_cnn/{training}/{file}"
        for training in ("standard", "pgd_adversarial")
        for file in ("float32.keras", "training.csv", "int8.tflite", "int8.json")
    ]
    records = tmp_path / "records"
    records.mkdir()
    result = workflow.run(*names, change=REUSE, TEST_RECORD=str(records))
    assert result.status == 0, result.output
    made = finished.workflow.products()
    # a .keras file holds the time of its making: equal bytes are a copy
    assert {name: workflow.path(name).read_bytes() for name in names} == {name: made[name] for name in names}
    assert not any('"tensorflow"' in path.read_text() for path in records.iterdir()), "nothing was trained"
    assert not workflow.plan(*names, change=REUSE)


def test_a_matching_density_model_is_taken_and_another_is_trained(with_references: Workflow, tmp_path) -> None:
    workflow = with_references.clone(tmp_path / "copy")
    kept = [workflow.path(name.replace("results", "reference_models")).read_bytes() for name in DENSITY]
    result = workflow.run(*DENSITY, change={**WITH_DENSITY, **REUSE})
    assert result.status == 0, result.output
    assert "taken from" in workflow.path("logs/densities/strokes.log").read_text()
    assert [workflow.path(name).read_bytes() for name in DENSITY] == kept
    other = {"densities": {"strokes": {"dataset": "digits", "epochs": 1, "width": 16}}}
    result = workflow.run(*DENSITY, change={**WITH_DENSITY, **REUSE, **other})
    assert result.status == 0, result.output
    assert workflow.path(DENSITY[0]).read_bytes() != kept[0]


@pytest.mark.parametrize(
    "change",
    [
        {"models": {"digits_cnn": {"recipes": {"standard": {"epochs": 1}}}}},
        {"datasets": {"digits": {"validation_samples": 101}}},
        {"reference_models": "ignore"},
    ],
    ids=["recipe", "data", "ignore"],
)
def test_a_reference_network_of_another_recipe_or_of_other_data_is_not_taken(
    with_references: Workflow, tmp_path, change: dict
) -> None:
    workflow = with_references.clone(tmp_path / "copy")
    result = workflow.run(NETWORK, change={**REUSE, **change})
    assert result.status == 0, result.output
    log = workflow.path("logs/models/digits_cnn/standard/float32.log").read_text()
    assert "taken from" not in log
    kept = workflow.path("reference_models/digits_cnn/standard/float32.keras").read_bytes()
    assert workflow.path(NETWORK).read_bytes() != kept


ENSEMBLE_NETWORK = "results/models/digits_cnn/ensemble/float32.keras"


@pytest.fixture
def with_ensemble(finished: Finished, tmp_path: Path) -> Workflow:
    """A copy whose manifest knows a network of ensemble adversarial training, made of other data."""
    workflow = finished.workflow.clone(tmp_path / "copy")
    configuration: dict = {}
    for name in ("config.yaml", TINY):
        update_config(configuration, yaml.safe_load(workflow.path(name).read_text()))
    update_config(configuration, ENSEMBLE)
    recipe = load(configuration, workflow.path("schemas/config.schema.yaml")).recipe_sha256("digits_cnn", "ensemble")
    manifest = {"digits_cnn/ensemble": {"recipe_sha256": recipe, "data_sha256": "of other data"}}
    workflow.path("reference_models").mkdir(exist_ok=True)
    workflow.path("reference_models/manifest.json").write_text(json.dumps(manifest))
    return workflow


def test_a_reference_network_spares_the_static_samples_of_its_training(with_ensemble: Workflow) -> None:
    plan = with_ensemble.plan(ENSEMBLE_NETWORK, change={**ENSEMBLE, **REUSE})
    assert {job.rule for job in plan} == {"train_model"}
    other = {"models": {"digits_cnn": {"recipes": {"ensemble": {"epochs": 1}}}}}
    for change in ({"reference_models": "ignore"}, {**REUSE, **other}):
        plan = with_ensemble.plan(ENSEMBLE_NETWORK, change={**ENSEMBLE, **change})
        assert {job.rule for job in plan} == {"train_model", "craft_static"}


def test_samples_that_were_spared_in_vain_are_named_in_one_line(with_ensemble: Workflow) -> None:
    result = with_ensemble.run(ENSEMBLE_NETWORK, change={**ENSEMBLE, **REUSE})
    assert result.status != 0
    (error,) = {line for line in result.output.splitlines() if line.startswith("error: ")}
    assert "digits_cnn/ensemble: the network in reference_models/ was made of other data" in error
    assert error.endswith("set reference_models: ignore")
    assert not with_ensemble.path(ENSEMBLE_NETWORK).exists()


def test_a_damaged_manifest_is_named_before_anything_runs(with_ensemble: Workflow) -> None:
    with_ensemble.path("reference_models/manifest.json").write_text("{")
    result = with_ensemble.quick("--dry-run", change=REUSE)
    assert result.status != 0
    (error,) = {line for line in result.output.splitlines() if line.startswith("error: ")}
    assert "reference_models/manifest.json: not valid JSON" in error
    assert "Traceback" not in result.output
    assert with_ensemble.quick("--dry-run").status == 0, "nobody asks for it with reference_models: ignore"


def test_a_damaged_reference_network_is_named_in_one_line(with_references: Workflow, tmp_path) -> None:
    workflow = with_references.clone(tmp_path / "copy")
    kept = "reference_models/digits_cnn/standard/float32.keras"
    with workflow.path(kept).open("ab") as stream:
        stream.write(b"x")
    result = workflow.run(NETWORK, change=REUSE)
    assert result.status != 0
    errors = {line for line in result.output.splitlines() if line.startswith("error: ")}
    assert len(errors) == 1
    assert f"{kept}: not the file recorded in the manifest" in errors.pop()
    assert not workflow.path(NETWORK).exists()


# --- Snakemake's own report -----------------------------------------------------------------------------


def test_the_report_of_snakemake_works_offline(workflow: Workflow) -> None:
    nowhere = "http://127.0.0.1:9"
    result = workflow.run("--report", "report.html", https_proxy=nowhere, http_proxy=nowhere)
    assert result.status == 0, result.output
    assert "craft_adversarial" in workflow.path("report.html").read_text()
