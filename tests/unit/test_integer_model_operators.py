"""Each operator of the integer model against the TFLite interpreter, on random networks.

A few examples of each run by default, always the same. `QNN_EXAMPLES=500 pytest
tests/unit/test_integer_model_operators.py` runs that many, drawn afresh.
"""

from __future__ import annotations

import os
from collections.abc import Sequence

import numpy as np
import pytest
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis import strategies as st
from operator_networks import COMPARISONS, LINEAR, OPERATORS, OperatorNetwork, codes
from tflite_builder import Builder

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.integer_model.exactness import check_exactness
from qnn_robustness.quantization.integer_model.model import KERNELS, IntegerModel

EXAMPLES = int(os.environ.get("QNN_EXAMPLES", "3"))
RANDOM = settings(
    max_examples=EXAMPLES,
    derandomize="QNN_EXAMPLES" not in os.environ,
    deadline=None,
    database=None,
    phases=[Phase.generate],
    suppress_health_check=list(HealthCheck),
)
# The two limits that the documentation names; both are properties of TFLite's kernels.
ALLOWED_REFUSALS = ("this cannot be exact", "too small for its inputs")


def _model(path: str, kernels: str) -> tuple[IntegerModel | None, str]:
    try:
        return IntegerModel.from_file(path, kernels), ""
    except UserError as error:
        return None, str(error)


def _compare(path: str, precision: str, seed: int, lacking: Sequence[str] = ()) -> None:
    for kernels in KERNELS[precision]:
        if kernels in lacking:
            continue
        model, refusal = _model(path, kernels)
        if model is None:
            assert any(reason in refusal for reason in ALLOWED_REFUSALS), refusal
            continue
        samples = codes(precision, (96, *model.input_shape), seed)
        assert check_exactness(model, path, samples) == 0, kernels


# TFLite has no such kernels.
LACKING_INT16 = (
    *COMPARISONS,
    "DEPTH_TO_SPACE",
    "DIV",
    "ELU",
    "HARD_SWISH",
    "PRELU",
    "RELU_0_TO_1",
    "RELU_N1_TO_1",
    "SELECT",
    "SELECT_V2",
    "SPACE_TO_DEPTH",
    "SQRT",
    "SQUARED_DIFFERENCE",
)
LACKING_OF_REFERENCE = ("CEIL in float32", "ELU", "ELU in float32", "ROUND in float32", "SUM")
CASES = [
    (operator, precision)
    for operator in OPERATORS
    for precision in KERNELS
    if precision == "int8" or operator not in LACKING_INT16
]


@pytest.mark.parametrize(("operator", "precision"), CASES)
def test_operator_equals_the_interpreter(operator, precision, tmp_path):
    @RANDOM
    @given(st.data())
    def compare(data):
        path = tmp_path / "network.tflite"
        OperatorNetwork(data.draw, operator, precision, path)
        lacking = ["reference"] if operator in LACKING_OF_REFERENCE else []
        _compare(str(path), precision, data.draw(st.integers(0, 1000)), lacking)

    compare()


def test_the_last_values_of_a_sample_leave_the_integers_in_another_order(tmp_path):
    """The built-in DEQUANTIZE takes eight codes at a time; here the product of the other six rounds differently."""
    builder, shape = Builder(), [1, 5, 1, 6]
    source = builder.tensor(np.int8, shape, 0.031363267451524734, 27)
    real, negative = builder.tensor(np.float32, shape), builder.tensor(np.float32, shape)
    target = builder.tensor(np.int8, shape, 0.5018122792243958, 127)
    builder.operator("DEQUANTIZE", [source], [real])
    builder.operator("NEG", [real], [negative], "NegOptions")
    builder.operator("QUANTIZE", [negative], [target])
    _compare(builder.save(tmp_path / "network.tflite", [source], [target]), "int8", 190)


@pytest.mark.parametrize("also_behind", [False, True])
def test_steps_that_are_put_together_in_front_of_samples_are_taken_apart_there(tmp_path, also_behind):
    """As the converter writes a recurrent layer of all steps before another one, when both are unrolled."""
    builder, parts = Builder(), {}
    source, packed = builder.tensor(np.int8, [1, 3, 2, 4], 0.1), builder.tensor(np.int8, [3, 1, 2, 4], 0.1)
    for name in ("first", "second"):
        parts[name] = [builder.tensor(np.int8, [1, 2, 4], 0.1) for _ in range(3)]
    builder.operator("UNPACK", [source], parts["first"], "UnpackOptions", axis=1, num=3)
    builder.operator("PACK", parts["first"], [packed], "PackOptions", axis=0, valuesCount=3)
    builder.operator("UNPACK", [packed], parts["second"], "UnpackOptions", axis=0, num=3)
    joined = [*parts["second"]]
    if also_behind:
        order, behind = builder.constant(np.array([1, 0, 2, 3], np.int32)), builder.tensor(np.int8, [1, 3, 2, 4], 0.1)
        builder.operator("TRANSPOSE", [packed, order], [behind], "TransposeOptions")
        rows, shape = builder.tensor(np.int8, [1, 6, 4], 0.1), builder.constant(np.array([-1, 6, 4], np.int32))
        builder.operator("RESHAPE", [behind, shape], [rows], "ReshapeOptions")
        joined.append(rows)
    count = 12 if also_behind else 6
    output, shape = builder.tensor(np.int8, [1, count, 4], 0.1), builder.constant(np.array([-1, 4 * count], np.int32))
    builder.operator("CONCATENATION", joined, [output], "ConcatenationOptions", axis=1)
    flat = builder.tensor(np.int8, [1, 4 * count], 0.1)
    builder.operator("RESHAPE", [output, shape], [flat], "ReshapeOptions")
    path = builder.save(tmp_path / "steps.tflite", [source], [flat])
    _compare(path, "int8", 0)


def test_a_built_in_sum_is_rounded_once(tmp_path):
    """Two roundings of the multiplied sum, as elsewhere, give other codes for these scales."""
    builder = Builder()
    source, target = builder.tensor(np.int8, [1, 7, 7, 4], 1 / 804, -128), builder.tensor(np.int8, [1, 4], 1 / 92, -128)
    axes = builder.constant(np.array([1, 2], np.int32))
    builder.operator("SUM", [source, axes], [target], "ReducerOptions")
    path = builder.save(tmp_path / "network.tflite", [source], [target])
    model, samples = IntegerModel.from_file(path, "builtin"), np.full((256, 7, 7, 4), -128, np.int8)
    samples[:, 0, :4, :] = np.arange(-128, 128).reshape(-1, 1, 1)
    assert check_exactness(model, path, samples) == 0


def test_an_operator_without_a_kernel_is_named(tmp_path):
    builder = Builder()
    source = builder.tensor(np.int8, [1, 2, 2, 1], 1 / 64)
    target = builder.tensor(np.int8, [1, 2, 2, 1], 1 / 64)
    builder.operator("ELU", [source], [target])
    path = builder.save(tmp_path / "network.tflite", [source], [target])
    with pytest.raises(UserError, match=r"operator 0 \(ELU\): cannot be run \(\w+: "):
        IntegerModel.from_file(path, "reference")


@pytest.mark.parametrize("operator", LINEAR)
def test_most_linear_layers_are_not_refused(operator, tmp_path):
    """The comparison above is not empty."""
    built = []

    @settings(RANDOM, max_examples=20)
    @given(st.data())
    def build(data):
        OperatorNetwork(data.draw, operator, "int8", tmp_path / "network.tflite")
        model, _ = _model(str(tmp_path / "network.tflite"), "reference")
        built.append(model is not None)

    build()
    assert np.mean(built) > 0.8
