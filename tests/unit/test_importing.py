"""Integer networks from outside: taken over unchanged, checked against what is declared, and never trusted."""

from __future__ import annotations

import json
import stat
import sys
from dataclasses import replace
from pathlib import Path

import brightness_network
import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tflite_builder import Builder

from qnn_robustness.common.errors import UserError
from qnn_robustness.common.files import sha256_file
from qnn_robustness.common.scaling import InputScaling
from qnn_robustness.data.splits import Split, to_unit
from qnn_robustness.quantization import trial
from qnn_robustness.quantization.flatbuffer import precision_of, read_graph, with_scaling
from qnn_robustness.quantization.importing.declaration import CHECKED, Declaration, nearest_range
from qnn_robustness.quantization.importing.integer_file import import_file
from qnn_robustness.quantization.tflite_model import TFLiteModel

TEST = brightness_network.images()
SUMMARY = {"classes": list(brightness_network.CLASSES), "image_shape": list(brightness_network.SHAPE)}
ENTRY = {
    "input": {"range": [0, 255], "mean": None, "deviation": None, "order": "rgb"},
    "output": "softmax",
    "labels": None,
    "minimum_accuracy": None,
}


@pytest.fixture
def network(tmp_path: Path) -> str:
    return brightness_network.save(tmp_path / "given.tflite")


def imported(network: str, precision: str = "int8", summary: dict = SUMMARY, kernels=("reference",), **entry) -> dict:
    """Import a network beside itself and return its sidecar."""
    entry = {**ENTRY, **entry, "input": {**ENTRY["input"], **entry.get("input", {})}}
    target = Path(network).with_name("imported.tflite")
    declaration = Declaration.of("own", precision, entry, summary)
    import_file(network, declaration, TEST, kernels, target, target.with_suffix(".json"))
    return json.loads(target.with_suffix(".json").read_text())


@pytest.mark.parametrize("ends", [np.int8, np.float32])
def test_an_imported_network_is_the_given_one_and_takes_the_unit_interval(tmp_path: Path, ends: type) -> None:
    network = brightness_network.save(tmp_path / "given.tflite", ends=ends)
    sidecar = imported(network, kernels=("reference", "xnnpack"), minimum_accuracy=1.0)
    assert sidecar["clean_accuracy"] == {"kernels": "reference", "accuracy": 1.0}
    assert sidecar["imported_sha256"] == sha256_file(network)
    samples = np.random.default_rng(0).integers(0, 256, (50, *brightness_network.SHAPE)).astype(np.uint8)
    for kernels in ("reference", "xnnpack"):
        given = TFLiteModel(network, kernels).predict(samples.astype(np.float32))
        taken = TFLiteModel(tmp_path / "imported.tflite", kernels).predict(to_unit(samples))
        np.testing.assert_array_equal(taken, given)


def test_the_scaling_is_carried_by_the_file_and_can_be_replaced(network: str, tmp_path: Path) -> None:
    scaling = InputScaling((2.0, 3.0, 4.0), (0.5, 0.0, -0.5), True)
    copy = tmp_path / "copy.tflite"
    copy.write_bytes(with_scaling(network, scaling))
    assert read_graph(copy).scaling == scaling
    copy.write_bytes(with_scaling(copy, InputScaling()))
    assert read_graph(copy).scaling.is_identity
    assert len(copy.read_bytes()) < 2 * len(Path(network).read_bytes())


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"input": {"range": [0, 1]}},
            r"takes values from 0 to 255, .* from 0 to 1; write input: \{range: \[0, 255\]\}",
        ),
        ({"input": {"range": [-4000, 4000]}}, r"takes values from 0 to 255, .* from -4000 to 4000"),
        ({"output": "logits"}, r"gives probabilities \(softmax\), declared is output: logits; write output: softmax"),
        ({"labels": ["light", "dark"]}, r"^models\.own\.labels: \['light', 'dark'\] are not the classes"),
        ({"precision": "int16"}, r"is a network in int8; name it under `int8`"),
        (
            {"summary": {**SUMMARY, "classes": ["a", "b", "c"]}},
            r"has 2 outputs, the data set has 3 classes \(a, b, c\)",
        ),
        ({"summary": {**SUMMARY, "image_shape": [8, 8, 3]}}, r"shape \[4, 4, 3\], the data set has \[8, 8, 3\]"),
        ({"input": {"mean": [0, 0]}}, r"^models\.own\.input\.mean: has 2 entries"),
    ],
)
def test_wrong_declarations_end_in_one_line(network: str, changes: dict, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        imported(network, **changes)
    assert str(caught.value).startswith("models.own.")


@pytest.mark.parametrize("minimum", [0.5, None])
def test_an_accuracy_stops_that_another_scaling_would_better(tmp_path: Path, minimum: float | None) -> None:
    # Images from 128 to 383 lie half inside of what the input takes: all of them are then light.
    network = brightness_network.save(tmp_path / "given.tflite")
    with pytest.raises(UserError, match=r"50% of 20 test samples right; with input: \{range: \[0, 255\], .* 100%$"):
        imported(network, input={"range": [128, 380]}, minimum_accuracy=minimum)


def ten_classes(count: int, order: str = "rgb") -> tuple[Declaration, Split]:
    """Images whose class is the tenth of the range in which all of red lies; blue and green say nothing."""
    names = [f"class{i}" for i in range(10)]
    summary = {"classes": names, "image_shape": [4, 4, 3]}
    input_entry = {"range": [0, 1], "mean": None, "deviation": None, "order": order}
    entry = {**ENTRY, "input": input_entry, "minimum_accuracy": 0.2}
    random = np.random.default_rng(0)
    labels = np.arange(count) % 10
    samples = random.integers(0, 256, (count, 4, 4, 3))
    samples[..., 0] = (labels * 25 + 12)[:, None, None]
    return Declaration.of("own", "int8", entry, summary), Split(samples.astype(np.uint8), labels)


def tenths(accuracy: float, outputs: np.ndarray | None = None):
    """A network that knows the class with this probability, and answers one at random else."""

    def predict(inputs: np.ndarray) -> np.ndarray:
        random = np.random.default_rng(len(inputs) + int(1e6 * abs(float(inputs[0, 0, 0, 1]))))
        tenth = np.clip((inputs[:, 0, 0, 0] * 255 - 12) / 25, 0, 9).round().astype(int)
        answers = np.where(random.uniform(size=len(inputs)) < accuracy, tenth, random.integers(0, 10, len(inputs)))
        return np.eye(10)[(np.arange(10) if outputs is None else outputs)[answers]]

    return predict


@pytest.mark.parametrize("minimum", [0.2, None])
@pytest.mark.parametrize("moved", [[1, 0, *range(2, 10)], [*range(1, 10), 0], [*range(7), 8, 9, 7]])
def test_classes_in_another_order_are_named(moved: list[int], minimum: float | None) -> None:
    declaration, test = ten_classes(200)
    declaration = replace(declaration, minimum_accuracy=minimum)
    outputs = np.argsort(moved)  # of each class the place in the order of the outputs
    order = ",".join(f"class{i}" for i in moved)
    with pytest.raises(
        UserError, match=rf"with the classes in the order {order} \(classes or LABELS\) it would be 9\d%$"
    ):
        declaration.check_accuracy(tenths(0.95, outputs), test)


def test_neither_many_classes_nor_constant_answers_have_another_order() -> None:
    labels = np.arange(200) * 5
    names = [f"class{i}" for i in range(1000)]
    summary = {"classes": names, "image_shape": [4, 4, 3]}
    many = Declaration.of("own", "int8", {**ENTRY, "minimum_accuracy": 0.1}, summary)
    answers = np.where(np.arange(200) % 10 < 7, labels, (labels + 77) % 1000)
    test = Split(np.zeros((200, 4, 4, 3), np.uint8), labels)
    assert many.check_accuracy(lambda inputs: np.eye(1000)[answers], test) == 0.7
    declaration = Declaration.of("own", "int8", {**ENTRY, "minimum_accuracy": 0.2}, SUMMARY)
    unbalanced = Split(np.zeros((200, 4, 4, 3), np.uint8), (np.arange(200) >= 20).astype(int))
    with pytest.raises(UserError, match=r"10% of 200 test samples right, less than .* \(classes or LABELS\)"):
        declaration.check_accuracy(lambda inputs: np.eye(2)[np.zeros(len(inputs), int)], unbalanced)


@pytest.mark.parametrize("count", [20, 40, 200])
def test_luck_on_few_samples_refuses_no_declaration(count: int) -> None:
    """A network that is right in four of ten cases, however scaled: other scalings and orders do better by chance."""
    declaration, test = ten_classes(count)
    for seed in range(20):
        random = np.random.default_rng(seed)

        def right_at_times(inputs: np.ndarray, random: np.random.Generator = random) -> np.ndarray:
            return np.eye(10)[np.where(random.uniform(size=len(inputs)) < 0.4, test.labels, random.integers(0, 10))]

        assert 0 < replace(declaration, minimum_accuracy=0.05).check_accuracy(right_at_times, test) < 1


def test_channels_in_another_order_are_named() -> None:
    declaration, test = ten_classes(200, "bgr")
    with pytest.raises(UserError, match=r"with input: \{range: \[0, 1\], order: rgb\} it would be 9\d%$"):
        declaration.check_accuracy(tenths(0.95), test)


def test_accuracy_is_measured_on_all_classes(network: str) -> None:
    """The first samples of a folder in the order of its files may all be of one class."""
    sorted_test = brightness_network.images(2 * CHECKED)
    order = np.argsort(sorted_test.labels, kind="stable")
    test = Split(sorted_test.samples[order], sorted_test.labels[order])
    declaration = Declaration.of("own", "int8", ENTRY, SUMMARY)

    def always_dark(inputs: np.ndarray) -> np.ndarray:
        return np.tile([1.0, 0.0], (len(inputs), 1))

    assert declaration.check_accuracy(always_dark, test) == 0.5
    demanding = replace(declaration, minimum_accuracy=0.6)
    with pytest.raises(UserError, match=r"50% of 200 .*, less than minimum_accuracy, 60%; check"):
        demanding.check_accuracy(always_dark, test)


@pytest.mark.parametrize("kind", [np.uint8, np.int8])
def test_a_fake_quantized_network_is_told_how_to_be_converted(tmp_path: Path, kind: type) -> None:
    """As the converter writes quantization-aware networks that it is not told to optimise."""
    builder, shape = Builder(), [1, *brightness_network.SHAPE]
    codes = builder.tensor(kind, shape, 1 / 255, np.iinfo(kind).min)
    source, image, output = (builder.tensor(np.float32, shape) for _ in range(3))
    builder.operator("QUANTIZE", [source], [codes], "QuantizeOptions")
    builder.operator("DEQUANTIZE", [codes], [image], "DequantizeOptions")
    builder.operator("ABS", [image], [output])
    path = builder.save(tmp_path / "aware.tflite", [source], [output])
    with pytest.raises(UserError, match=r"aware\.tflite: rounds .* but computes in float32; convert it with optimiz"):
        precision_of(read_graph(path))


def test_a_float_network_is_no_integer_network(tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.float32, [1, *brightness_network.SHAPE]), builder.tensor(np.float32, [1, 2])
    builder.operator("MEAN", [source, builder.constant(np.array([1, 2], np.int32))], [output], "ReducerOptions")
    path = builder.save(tmp_path / "float.tflite", [source], [output])
    assert precision_of(read_graph(path)) == "float32"
    with pytest.raises(UserError, match=r"is a network in float32; name it under `float32`"):
        imported(path)


@pytest.mark.parametrize(
    ("span", "expected"),
    [
        ((0, 1), (0, 1)),
        ((0, 255), (0, 255)),
        ((-1, 0.992), (-1, 1)),
        ((-128, 127), (-128, 127)),
        ((-0.1, 1.2), (0, 1)),
        ((-1.00003, 1), (0, 1)),  # int16
        ((-0.5, 0.498), None),
        ((0, 127), None),
        ((-2.12, 2.64), None),  # mean and deviation
    ],
)
def test_the_range_in_use_that_an_input_is_about(span: tuple, expected: tuple | None) -> None:
    assert nearest_range(*span) == expected


# --- damage ---------------------------------------------------------------------------------------------


def refusal(network: str) -> str | None:
    try:
        imported(network)
    except UserError as error:
        return str(error)
    return None


def test_truncated_files_end_in_one_line(network: str) -> None:
    content = Path(network).read_bytes()
    for length in range(0, len(content) - 16, 97):
        Path(network).write_bytes(content[:length])
        message = refusal(network)
        assert message is not None
        assert message.startswith("models.own.files.int8: ")
        assert "given.tflite" in message


@settings(max_examples=12, derandomize=True, deadline=None, suppress_health_check=list(HealthCheck))
@given(st.lists(st.tuples(st.integers(0, 10**6), st.integers(0, 255)), min_size=1, max_size=3))
def test_mutated_files_are_refused_in_one_line_or_still_run(tmp_path: Path, damage: list[tuple[int, int]]) -> None:
    network = brightness_network.save(tmp_path / "given.tflite")
    content = bytearray(Path(network).read_bytes())
    for position, value in damage:
        content[position % len(content)] = value
    Path(network).write_bytes(content)
    if refusal(network) is None:
        model = TFLiteModel(tmp_path / "imported.tflite", "reference")
        assert model.predict(to_unit(TEST.samples)).shape == (20, 2)


@pytest.mark.parametrize(
    ("command", "message"),
    [
        ("kill -SEGV $$", r"crashes the TFLite interpreter \(SIGSEGV\)"),
        ("sleep 60", r"does not answer within 1 s"),
        ("printf 'no tensor \\377' >&2; exit 1", r"given\.tflite: no tensor \ufffd$"),
    ],
)
def test_a_crash_of_the_interpreter_is_one_line(network, tmp_path, monkeypatch, command, message) -> None:
    interpreter = tmp_path / "python"
    interpreter.write_text(f"#!/bin/sh\n{command}\n")
    interpreter.chmod(interpreter.stat().st_mode | stat.S_IXUSR)
    monkeypatch.setattr(sys, "executable", str(interpreter))
    monkeypatch.setattr(trial, "SECONDS", 1 if "sleep" in command else 60)
    with pytest.raises(UserError, match=message):
        trial.try_out(network, ["reference"])


def test_modules_beside_the_file_are_not_run(network: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "resource.py").write_text("raise SystemExit('error: not the module of Python')")
    monkeypatch.chdir(tmp_path)
    trial.try_out(network, ["reference"])


def test_codes_without_a_scale_are_no_scores(tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 1, 1, 3], 1, -128), builder.tensor(np.int8, [1, 3])
    builder.operator("RESHAPE", [source], [output], "ReshapeOptions", newShape=[-1, 3])
    path = builder.save(tmp_path / "given.tflite", [source], [output])
    with pytest.raises(UserError, match=r"given\.tflite: gives codes without a scale, of which there are no scores"):
        trial.try_out(path, ["reference"])


def test_a_network_that_the_kernels_refuse_is_one_line(tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 4, 4, 3], 1, -128), builder.tensor(np.int8, [1, 2], 1, 0)
    options = {"strideW": 0, "strideH": 0, "filterWidth": 2, "filterHeight": 2}
    builder.operator("AVERAGE_POOL_2D", [source], [output], "Pool2DOptions", **options)
    path = builder.save(tmp_path / "given.tflite", [source], [output])
    with pytest.raises(UserError, match=r"given\.tflite: cannot be run \(.*stride_height") as caught:
        trial.try_out(path, ["reference"])
    assert "\n" not in str(caught.value)


def test_kernels_that_lack_an_operator_are_named(tmp_path: Path) -> None:
    builder = Builder()
    source, output = (builder.tensor(np.int8, [1, 2], 0.1, 0) for _ in range(2))
    builder.operator("ELU", [source], [output])
    path = builder.save(tmp_path / "given.tflite", [source], [output])
    trial.try_out(path, ["builtin", "xnnpack"])
    with pytest.raises(UserError, match=r"given\.tflite: cannot be used with the reference kernels \(.*'ELU'"):
        trial.try_out(path, ["builtin", "xnnpack", "reference"])


def test_a_tensor_too_large_to_run_is_refused(tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 4, 4, 3], 1, -128), builder.tensor(np.int8, [1, 2**15, 2**15], 1, 0)
    builder.operator("AVERAGE_POOL_2D", [source], [output], "Pool2DOptions")
    path = builder.save(tmp_path / "given.tflite", [source], [output])
    with pytest.raises(UserError, match="too large to be run"):
        trial.try_out(path, ["reference"])
