"""Plans of the stages that the run of this folder leaves out: static samples, density models, detectors, diagnosis."""

from __future__ import annotations

import numpy as np
import pytest
from plan import ENSEMBLE, Plan, Workflow, copy_repository, of_rules, with_dependents, with_needs

pytestmark = pytest.mark.workflow
MODEL = "results/models/digits_cnn"
STATIC = "results/static/digits_cnn/standard/static.npz"
NETWORK = f"{MODEL}/ensemble/float32.keras"
DATA = tuple(f"results/data/digits/{split}.npz" for split in ("train", "validation"))
DENSITY = "results/densities/strokes/density.npz"
DEFENDED = {
    "densities": {"strokes": {"dataset": "digits", "epochs": 1}},
    "preprocessors": {"purified": {"method": "pixel_defend", "parameters": {"density": "strokes"}}},
    "detectors": {
        "likelihood": {"density": "strokes", "false_positive_rate": 0.05},
        "squeezing": {"squeezers": ["bit_depth_4"], "false_positive_rate": 0.05},
    },
    "attacks": {
        "aware": {"method": "pgd", "norm": "linf", "budgets": ["8/255"], "samples": 20, "through": "purified"},
        "evading": {
            "method": "detector_aware_pgd",
            "norm": "linf",
            "budgets": ["8/255"],
            "samples": 20,
            "through": "squeezing",
        },
        "likely": {
            "method": "detector_aware_pgd",
            "norm": "linf",
            "budgets": ["8/255"],
            "samples": 20,
            "through": "likelihood",
        },
    },
    "experiments": {
        "defended": {
            "models": ["digits_cnn"],
            "sources": ["int8", "vote"],
            "attacks": ["pgd_linf", "aware", "evading", "likely"],
            "preprocessors": ["none", "purified"],
            "detectors": ["likelihood", "squeezing"],
            "targets": ["int8", "vote"],
        }
    },
    "run": ["defended"],
}
DIAGNOSED = {
    "diagnostics": {"attacks": ["deepfool_l2"]},
    "experiments": {"white_box": {"diagnose": True}},
}
QUESTIONS = ("gradients", "gradient_alignment", "quantization_shift", "loss_surfaces", "boundary_distance", "transfer")


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    return copy_repository(tmp_path_factory.mktemp("stages"))


@pytest.fixture
def trained(tmp_path) -> Workflow:
    """A copy in which files stand for the data, the network that is attacked and its static samples."""
    workflow = copy_repository(tmp_path)
    for name in (*DATA, f"{MODEL}/standard/float32.keras", f"{MODEL}/standard/training.csv", STATIC):
        workflow.path(name).parent.mkdir(parents=True, exist_ok=True)
        np.savez(workflow.path(name).open("wb"), name=name)
    return workflow


@pytest.fixture(scope="module")
def diagnosis(repository: Workflow) -> Plan:
    return repository.plan(change=DIAGNOSED)


def test_static_samples_are_made_once_of_the_network_and_all_training_samples(repository: Workflow) -> None:
    plan = repository.plan(change=ENSEMBLE)
    (job,) = of_rules(plan, "craft_static")
    assert job.outputs == (STATIC,)
    assert set(job.inputs) == {f"{MODEL}/standard/float32.keras", DATA[0]}
    (ensemble,) = of_rules(plan, "train_model", training="ensemble")
    assert {STATIC, f"{MODEL}/standard/float32.keras"} <= set(ensemble.inputs)
    assert not of_rules(with_dependents(plan, [job]), "train_model", training="standard")
    assert of_rules(with_dependents(plan, [job]), "craft_adversarial", training="ensemble")


def test_a_run_goes_on_from_static_samples_that_are_there(trained: Workflow) -> None:
    plan = trained.plan(NETWORK, change=ENSEMBLE)
    assert {job.outputs[0] for job in plan} == {NETWORK}
    trained.path(STATIC).unlink()
    plan = trained.plan(NETWORK, change=ENSEMBLE)
    assert {job.outputs[0] for job in plan} == {STATIC, NETWORK}


@pytest.fixture(scope="module")
def defended(repository: Workflow) -> Plan:
    return repository.plan(change=DEFENDED)


def test_a_density_is_trained_once_for_all_who_need_it_and_for_nobody_else(defended: Plan) -> None:
    (job,) = of_rules(defended, "train_density_model")
    assert DENSITY in job.outputs
    expected = [
        of_rules(defended, "craft_adversarial", attack="aware"),
        of_rules(defended, "craft_adversarial", attack="likely"),
        of_rules(defended, "evaluate_clean", "evaluate_adversarial", preprocessor="purified"),
        of_rules(defended, "detect_clean", "detect_adversarial", detector="likelihood"),
    ]
    assert all(expected)
    users = {user for user in defended if DENSITY in user.inputs} - of_rules(defended, "tabulate_*", "measure_*")
    assert users == frozenset().union(*expected)


def test_a_vote_is_attacked_with_all_networks_and_evaluated_from_their_records(defended: Plan) -> None:
    crafted = of_rules(defended, "craft_adversarial", source="vote")
    assert {job.wildcards["attack"] for job in crafted} == {"pgd_linf", "aware", "evading", "likely"}
    for job in crafted:
        assert {f"{MODEL}/standard/{file}" for file in ("float32.keras", "int16.tflite", "int8.tflite")} <= set(
            job.inputs
        )
    evaluated = of_rules(defended, "evaluate_vote")
    assert evaluated
    for job in evaluated:
        folder = job.outputs[0].rpartition("/")[0]
        assert {f"{folder}/{member}.parquet" for member in ("float32", "int16", "int8")} <= set(job.inputs)


def test_every_question_is_asked_of_every_network_that_is_diagnosed(diagnosis: Plan) -> None:
    for training in ("standard", "pgd_adversarial"):
        asked = {job.rule for job in of_rules(diagnosis, "diagnose_*", training=training)}
        assert asked >= {f"diagnose_{question}" for question in QUESTIONS}
        for question in QUESTIONS[:4]:
            (job,) = of_rules(diagnosis, f"diagnose_{question}", training=training)
            networks = {f"{MODEL}/{training}/{file}" for file in ("float32.keras", "int16.tflite", "int8.tflite")}
            assert networks <= set(job.inputs)


def test_the_distances_to_the_boundary_come_from_attacks_of_each_precision_on_itself(diagnosis: Plan) -> None:
    (job,) = of_rules(diagnosis, "diagnose_boundary_distance", training="standard")
    assert set(job.inputs) == {
        f"results/evaluations/digits_cnn/standard/{precision}/deepfool_l2/none/{precision}.parquet"
        for precision in ("float32", "int16", "int8")
    }
    needed = with_needs(diagnosis, *job.outputs)
    assert {crafted.wildcards["source"] for crafted in of_rules(needed, "craft_adversarial")} == {
        "float32",
        "int16",
        "int8",
    }


def test_tables_and_figures_of_the_diagnosis_are_made_where_it_is_asked_for(
    repository: Workflow, diagnosis: Plan
) -> None:
    made = {output for job in diagnosis for output in job.outputs}
    figures = {"gradient_magnitudes", "gradient_alignment", "quantization_shift", "boundary_distance", "loss_surfaces"}
    assert {f"results/figures/{figure}.svg" for figure in figures} <= made
    assert {f"results/tables/{table}.csv" for table in ("masking", "gradient_shares", "transfer_bins")} <= made
    without = repository.plan()
    assert of_rules(without, "diagnose_*") == of_rules(without, "diagnose_integer_model")
    assert not of_rules(without, "tabulate_masking", "plot_gradient_alignment")


def test_a_figure_that_an_experiment_names_beside_its_diagnosis_gets_all_its_tables(repository: Workflow) -> None:
    change = {**DIAGNOSED, "experiments": {"white_box": {"diagnose": True, "figures": ["boundary_distance"]}}}
    (job,) = of_rules(repository.plan("results/figures/boundary_distance.svg", change=change), "plot_*")
    assert set(job.inputs) == {f"results/tables/boundary_distance{suffix}.csv" for suffix in ("", "_tests")}
