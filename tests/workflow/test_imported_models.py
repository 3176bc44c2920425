"""A model given by files takes the place of training and quantization in the plan, and nothing else does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import brightness_network
import pytest
from plan import Workflow, copy_repository, of_rules
from tflite_builder import add_mixed, add_unsupported, save_unsupported

pytestmark = pytest.mark.workflow
OWN = "results/models/own/pretrained"


@pytest.fixture(scope="module")
def repository(tmp_path_factory: pytest.TempPathFactory) -> Workflow:
    workflow = copy_repository(tmp_path_factory.mktemp("imported"))
    workflow.path("float32.keras").write_bytes(b"float32.keras")
    brightness_network.save(workflow.path("int8.tflite"))
    return workflow


def own(*precisions: str) -> dict:
    files = {p: "float32.keras" if p == "float32" else f"{p}.tflite" for p in precisions}
    experiment = {"trainings": ["pretrained"], "sources": ["float32", "int8"], "targets": ["float32", "int16", "int8"]}
    return {
        "run": ["audit", "decision"],
        "models": {"own": {"dataset": "digits", "files": files, "input": {"range": [0, 255]}}},
        "experiments": {"audit": {"models": ["own"], "attacks": ["pgd_linf"], **experiment}},
    }


def made(plan, *rules: str) -> set[str]:
    return {output for job in of_rules(plan, *rules) for output in job.outputs if output.startswith(OWN)}


def test_what_is_given_is_imported_and_the_rest_is_quantized(repository: Workflow) -> None:
    plan = repository.plan(change=own("float32", "int8"))
    assert made(plan, "import_float_network") == {f"{OWN}/float32.keras", f"{OWN}/float32.json"}
    assert made(plan, "import_integer_network") == {f"{OWN}/int8.tflite", f"{OWN}/int8.json"}
    assert made(plan, "quantize_model") == {f"{OWN}/int16.tflite", f"{OWN}/int16.json"}
    assert made(plan, "train_model") == set()
    others = of_rules(plan, "train_model", "quantize_model", model="digits_cnn")
    assert {job.wildcards["training"] for job in others} == {"standard"}


def test_no_other_rule_is_tried_for_a_network_that_is_given(repository: Workflow) -> None:
    result = repository.quick("--dry-run", change=own("float32", "int8"))
    assert result.status == 0, result.output
    assert "Error" not in result.output


def test_what_cannot_be_had_is_left_out_with_a_note(repository: Workflow) -> None:
    result = repository.quick("--dry-run", change=own("int8"))
    assert result.status == 0, result.output
    (note,) = [line for line in result.output.splitlines() if line.startswith("note: ")]
    assert "own: float32 and int16 left out" in note
    plan = repository.plan(change=own("int8"))
    assert made(plan, "import_*", "quantize_model", "train_model") == {f"{OWN}/int8.tflite", f"{OWN}/int8.json"}
    crafted = of_rules(plan, "craft_adversarial", model="own")
    assert [job.wildcards["source"] for job in crafted] == ["int8"]


def test_a_missing_file_ends_in_one_line_before_any_job(repository: Workflow, tmp_path: Path) -> None:
    change = own("int8")
    change["models"]["own"]["files"]["int8"] = str(tmp_path / "none.tflite")
    result = repository.quick("--cores", "1", change=change)
    assert result.status != 0
    assert result.output.splitlines()[-1] == (
        f"error: configuration: models.own.files.int8: {tmp_path / 'none.tflite'}: no such file or folder"
    )


def test_an_operator_that_cannot_be_emulated_ends_in_one_line_before_any_job(
    repository: Workflow, tmp_path: Path
) -> None:
    change = own("int8")
    change["models"]["own"]["files"]["int8"] = save_unsupported(tmp_path / "own.tflite")
    result = repository.quick("--cores", "1", change=change)
    assert result.status != 0
    place = f"models.own.files.int8: {tmp_path / 'own.tflite'}: operator 1 (LOG_SOFTMAX)"
    assert result.output.splitlines()[-1].startswith(f"error: configuration: {place}: is not supported; supported: ABS")


@pytest.mark.parametrize("refused", [add_unsupported, add_mixed])
def test_an_integer_model_that_cannot_be_made_is_not_compared_with_the_interpreter(
    repository: Workflow, refused: Callable
) -> None:
    compared = "results/diagnostics/own/pretrained/integer_model_int8.csv"
    change = own("int8")
    change["experiments"]["audit"]["attacks"] = ["hop_skip_jump_fast"]
    wanted = [output for job in of_rules(repository.plan(change=change), "diagnose_*") for output in job.outputs]
    assert compared in wanted
    change["models"]["own"]["files"]["int8"] = brightness_network.save(
        repository.path("refused.tflite"), behind=refused
    )
    wanted = [output for job in of_rules(repository.plan(change=change), "diagnose_*") for output in job.outputs]
    assert wanted
    assert compared not in wanted
