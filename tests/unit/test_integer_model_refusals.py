"""What the integer model refuses, each in one line that names the operator."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tflite_builder import Builder, save_unsupported

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import read_graph
from qnn_robustness.quantization.integer_model import operators
from qnn_robustness.quantization.integer_model.model import LAYERS, IntegerModel


def test_unsupported_operator_is_named_with_its_position(tmp_path):
    path = save_unsupported(tmp_path / "unsupported.tflite")
    with pytest.raises(UserError, match=r"unsupported\.tflite: operator 1 \(LOG_SOFTMAX\): is not supported"):
        IntegerModel.from_file(path)


def test_an_operator_on_activations_is_named_and_not_taken_for_one_on_shapes(tmp_path):
    builder = Builder()
    source, product = builder.tensor(np.int8, [1, 4, 4, 1], 0.1), builder.tensor(np.int8, [1, 4, 4], 0.1)
    axes = builder.constant(np.array([3], np.int32))
    builder.operator("REDUCE_PROD", [source, axes], [product], "ReducerOptions")
    path = builder.save(tmp_path / "product.tflite", [source], [product])
    with pytest.raises(UserError, match=r"operator 0 \(REDUCE_PROD\): is not supported in this place"):
        IntegerModel.from_file(path)
    with pytest.raises(UserError, match=r"operator 0 \(REDUCE_PROD\): is not supported in this place"):
        operators.check_operators(read_graph(path))


def _part(path: Path, name: str, constants: list[list[int]], scale: float = 0.1, **options: int) -> str:
    """A part of an image of shape (4, 6, 2), which is said to have the shape (2, 6, 2)."""
    builder, shape = Builder(), [1, 2, 6, 2]
    source = builder.tensor(np.int8, [1, 4, 6, 2], 0.1)
    numbers = [builder.constant(np.array(values, np.int32)) for values in constants]
    if name == "SPLIT":
        outputs = [builder.tensor(np.int8, shape, scale) for _ in range(options["numSplits"])]
        builder.operator(name, [*numbers, source], outputs, "SplitOptions", **options)
    else:
        outputs = [builder.tensor(np.int8, shape, scale)]
        table = {"STRIDED_SLICE": "StridedSliceOptions", "SQUEEZE": "SqueezeOptions"}.get(name)
        builder.operator(name, [source, *numbers], outputs, table, **options)
    return builder.save(path, [source], outputs[:1])


@pytest.mark.parametrize(
    ("name", "constants", "options", "message"),
    [
        ("TRANSPOSE", [[1, 0, 2, 3]], {}, "moves the batch"),
        ("TRANSPOSE", [[0, 1, 1, 3]], {}, r"has the order of axes \[0, 1, 1, 3\]"),
        ("TRANSPOSE", [[0, 2, 1, 3]], {}, r"gives the shape \(6, 4, 2\); the file says \(2, 6, 2\)"),
        ("TRANSPOSE", [], {}, "needs constant axes"),
        ("TRANSPOSE", [[0, 1, 2, 3]], {"scale": 0.2}, "changes the scale, which its kernel ignores"),
        ("EXPAND_DIMS", [[0]], {}, r"gives \(1, 1, 4, 6, 2\); the file says \(1, 2, 6, 2\)"),
        ("SQUEEZE", [], {"squeezeDims": [0]}, "takes the batch away"),
        ("SQUEEZE", [], {"squeezeDims": [-1]}, r"takes axes \[3\] of \(1, 4, 6, 2\) away"),
        ("TILE", [[2, 1, 1, 1]], {}, "repeats the batch"),
        ("TILE", [[1, 1, 1, 2**30]], {}, r"gives \(1, 4, 6, 2147483648\); the file says \(1, 2, 6, 2\)"),
        ("TILE", [[1, 1, 1]], {}, r"has the multiples \[1, 1, 1\]"),
        ("SPLIT", [[0]], {"numSplits": 1}, "splits axis 0; only axes after the batch work"),
        ("SPLIT", [[4]], {"numSplits": 1}, "splits axis 4"),
        ("SPLIT", [[1]], {"numSplits": 3}, "splits 4 into 3 parts"),
        ("SLICE", [[0, 1, 0, 0], [1, 2, 6, 2]], {}, "cuts the batch"),
        ("SLICE", [[0, 3, 0, 0], [-1, 2, 6, 2]], {}, r"has bounds beyond the shape \(1, 4, 6, 2\)"),
        ("SLICE", [[0, 1, 0], [-1, 2, 6]], {}, "has bounds of another rank"),
        ("STRIDED_SLICE", [[0, 1, 0, 0], [1, 3, 6, 2], [1] * 4], {}, "cuts the batch"),
        ("STRIDED_SLICE", [[0, 1], [0, 3], [1]], {"endMask": 1}, "has bounds of another rank"),
        ("STRIDED_SLICE", [[0, 1], [0, 3], [1, 0]], {"endMask": 1}, "has a stride of 0"),
        ("STRIDED_SLICE", [[0, 1], [0, 3], [1, 1]], {"endMask": 1, "newAxisMask": 2}, "a new axis"),
        (
            "STRIDED_SLICE",
            [[0, 4], [0, 3], [1, 1]],
            {"endMask": 1, "shrinkAxisMask": 2},
            "one of axis 1 where there is",
        ),
    ],
)
def test_parts_that_kernels_would_not_take_of_each_sample_are_refused(
    name: str, constants: list, options: dict, message: str, tmp_path: Path
) -> None:
    path = _part(tmp_path / "part.tflite", name, constants, **options)
    with pytest.raises(UserError, match=rf"operator 0 \({name}\): .*{message}"):
        IntegerModel.from_file(path)


def _conv(path: Path, shape: list[int], **changes: int) -> str:
    """A 3x3 convolution of a 5x5 image, whose output is said to have this shape."""
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 5, 5, 2], 0.1), builder.tensor(np.int8, shape, 0.2)
    weights, bias = builder.constant(np.ones((4, 3, 3, 2), np.int8), 0.1), builder.constant(np.zeros(4, np.int32), 0.01)
    options = dict(padding=1, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1) | changes
    builder.operator("CONV_2D", [source, weights, bias], [output], "Conv2DOptions", **options)
    return builder.save(path, [source], [output])


@pytest.mark.parametrize(
    ("shape", "changes", "message"),
    [
        ([1, 3, 2, 4], {}, r"gives the shape \(3, 3, 4\); the file says \(3, 2, 4\)"),
        ([1, 3, 4], {}, r"gives the shape \(3, 3, 4\); the file says \(3, 4\)"),
        ([1, 3, 3, 4], {"dilationHFactor": 2**30}, r"has filters too large for dilations \(1073741824, 1\)"),
        ([1, 3, 3, 4], {"dilationHFactor": 2**15}, r"cannot be run \("),
    ],
)
def test_shapes_that_contradict_the_operator_are_refused(
    shape: list[int], changes: dict, message: str, tmp_path: Path
) -> None:
    IntegerModel.from_file(_conv(tmp_path / "conv.tflite", [1, 3, 3, 4]))
    with pytest.raises(UserError, match=rf"conv\.tflite: operator 0 \(CONV_2D\): {message}") as caught:
        IntegerModel.from_file(_conv(tmp_path / "conv.tflite", shape, **changes))
    assert "\n" not in str(caught.value)


def _with_constant(path: Path, name: str, shape: list[int], scale: float = 0.1, fused: int = 0) -> str:
    """An image and a constant, put together by an operator."""
    builder = Builder()
    source, output = builder.tensor(np.int16, [1, 4, 4, 2], 0.1), builder.tensor(np.int16, [1, 4, 4, 2], 0.2)
    other = builder.constant(np.ones(shape, np.int16), scale)
    builder.operator(name, [source, other], [output], f"{name.title()}Options", fusedActivationFunction=fused)
    return builder.save(path, [source], [output])


def test_options_that_the_model_lacks_are_told_without_building_it(tmp_path: Path) -> None:
    IntegerModel.from_file(_with_constant(tmp_path / "sum.tflite", "ADD", [2]))
    path = _with_constant(tmp_path / "options.tflite", "ADD", [2], fused=4)
    with pytest.raises(UserError, match="fused activation 4") as told:
        operators.check_operators(read_graph(path))
    with pytest.raises(UserError, match="fused activation 4") as built:
        IntegerModel.from_file(path)
    assert str(told.value) == str(built.value)


@pytest.mark.parametrize(("outputs", "read"), [(4, 3), (3, 2), (4, 8)])
def test_groups_that_do_not_fit_the_channels_are_refused(outputs: int, read: int, tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 5, 5, 4], 0.1), builder.tensor(np.int8, [1, 3, 3, outputs], 0.2)
    weights = builder.constant(np.ones((outputs, 3, 3, read), np.int8), 0.1)
    options = dict(padding=1, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
    builder.operator("CONV_2D", [source, weights], [output], "Conv2DOptions", **options)
    path = builder.save(tmp_path / "groups.tflite", [source], [output])
    with pytest.raises(UserError, match=r"operator 0 \(CONV_2D\): weights of shape \(.*\) do not fit 4 input channels"):
        IntegerModel.from_file(path)


@pytest.mark.parametrize(
    ("constant", "read", "rows", "message"),
    [
        (True, 2, 8, "has a constant shape of its output, which fixes the number of samples"),
        (False, 3, 8, r"weights of shape \(5, 3, 3, 3\) do not fit 2 input channels"),
        (False, 2, 9, r"makes \(1, 9, 12, 5\) of \(1, 4, 6, 2\)"),
    ],
)
def test_transposed_convolutions_that_do_not_fit_are_refused(
    constant: bool, read: int, rows: int, message: str, tmp_path: Path
) -> None:
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 4, 6, 2], 0.1), builder.tensor(np.int8, [1, rows, 12, 5], 0.2)
    weights = builder.constant(np.ones((5, 3, 3, read), np.int8), 0.1)
    fixed = builder.constant(np.array([1, rows, 12, 5], np.int32)) if constant else None
    shape = fixed or builder.shape_of_batch(source, [rows, 12, 5])
    options = {"padding": 0, "strideH": 2, "strideW": 2}
    builder.operator("TRANSPOSE_CONV", [shape, weights, source], [output], "TransposeConvOptions", **options)
    path = builder.save(tmp_path / "transposed.tflite", [source], [output])
    with pytest.raises(UserError, match=rf"\(TRANSPOSE_CONV\): {message}"):
        IntegerModel.from_file(path)


def _image(
    path: Path, name: str, other: tuple[np.ndarray, float | None], table: str | None = None, **options: object
) -> str:
    """An operator from an image of shape (4, 6, 2) to one of its kind, with a constant."""
    builder = Builder()
    source, output = (builder.tensor(other[0].dtype if other[1] else np.int8, [1, 4, 6, 2], 0.1) for _ in range(2))
    builder.operator(name, [source, builder.constant(*other)], [output], table, **options)
    return builder.save(path, [source], [output])


SIZE = np.array([4, 6], np.int32)


@pytest.mark.parametrize(
    ("name", "other", "options", "message"),
    [
        ("MAXIMUM", (np.ones(2, np.int8), 0.2), {}, "changes the scale, which its kernel ignores"),
        ("PRELU", (np.ones(2, np.int16), 0.1), {}, "has no kernel for INT16"),
        ("PRELU", (np.ones(2, np.int8), 2.0**20), {}, "products may overflow 32 bits; this cannot be exact"),
        ("RESIZE_BILINEAR", (SIZE, None), {"alignCorners": True, "halfPixelCenters": True}, "aligns both corners"),
        ("RESIZE_BILINEAR", (SIZE[:1], None), {}, r"resizes \(1, 4, 6, 2\) to \[4\]; it needs images"),
        ("RESIZE_NEAREST_NEIGHBOR", (SIZE + 1, None), {}, r"gives \(1, 5, 7, 2\); the file says \(1, 4, 6, 2\)"),
    ],
)
def test_operators_that_no_kernel_has_so_are_refused(
    name: str, other: tuple, options: dict, message: str, tmp_path: Path
):
    table = {"RESIZE_BILINEAR": "ResizeBilinearOptions"}.get(name)
    path = _image(tmp_path / "image.tflite", name, other, table, **options)
    with pytest.raises(UserError, match=rf"operator 0 \({name}\): .*{message}"):
        IntegerModel.from_file(path)


@pytest.mark.parametrize(
    ("name", "shape", "scale", "message"),
    [
        ("ADD", [3, 4, 4, 2], 0.1, r"operator 0 \(ADD\): has operands for batches of different sizes"),
        ("ADD", [3], 0.1, r"operator 0 \(ADD\): cannot be run"),
        ("ADD", [4, 1, 1, 1, 2], 0.1, r"operator 0 \(ADD\): gives the shape"),
        ("MUL", [2], 4.0, r"operator 0 \(MUL\): products may overflow 32 bits; this cannot be exact"),
    ],
)
def test_operands_that_do_not_fit_are_refused(name: str, shape: list[int], scale: float, message: str, tmp_path: Path):
    path = _with_constant(tmp_path / "pair.tflite", name, shape, scale)
    with pytest.raises(UserError, match=message):
        IntegerModel.from_file(path)


def _joined(path: Path, axis: int, scale: float = 0.1, constant: bool = False) -> str:
    builder = Builder()
    shape = [1, 4, 4, 2]
    source, output = builder.tensor(np.int8, shape, 0.1), builder.tensor(np.int8, [1, 4, 4, 4], scale)
    other = builder.constant(np.ones(shape, np.int8), 0.1) if constant else source
    builder.operator("CONCATENATION", [source, other], [output], "ConcatenationOptions", axis=axis)
    return builder.save(path, [source], [output])


@pytest.mark.parametrize(
    ("axis", "options", "message"),
    [
        (0, {}, "joins along axis 0; only axes after the batch work"),
        (4, {}, "joins along axis 4"),
        (3, {"scale": 0.2}, "changes the scale"),
        (3, {"constant": True}, "joins a constant"),
    ],
)
def test_a_concatenation_other_than_of_activations_is_refused(axis: int, options: dict, message: str, tmp_path: Path):
    with pytest.raises(UserError, match=rf"operator 0 \(CONCATENATION\): {message}"):
        IntegerModel.from_file(_joined(tmp_path / "joined.tflite", axis, **options))


@pytest.mark.parametrize("sizes", [[-1, 16], [1, 2, 16], [32]])
def test_a_constant_shape_other_than_that_of_the_output_is_refused(sizes: list[int], tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 4, 4, 2], 0.1), builder.tensor(np.int8, [1, 32], 0.1)
    builder.operator("RESHAPE", [source, builder.constant(np.array(sizes, np.int32))], [output])
    path = builder.save(tmp_path / "reshape.tflite", [source], [output])
    with pytest.raises(UserError, match=r"operator 0 \(RESHAPE\): gives \(.*\); the file says \(1, 32\)"):
        IntegerModel.from_file(path)


@pytest.mark.parametrize(
    ("first", "shape", "message"),
    [
        (True, [4, 3], "needs matrices of each sample first"),
        (False, [2, 4, 3], "has matrices for batches of different sizes"),
    ],
)
def test_matrices_that_are_not_of_each_sample_are_refused(first: bool, shape: list[int], message: str, tmp_path: Path):
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 3, 4], 0.5), builder.tensor(np.int8, [1, 3, 3], 1.0)
    pair = [source, builder.constant(np.ones(shape, np.int8), 0.5)]
    builder.operator("BATCH_MATMUL", pair[::-1] if first else pair, [output], "BatchMatMulOptions")
    path = builder.save(tmp_path / "product.tflite", [source], [output])
    with pytest.raises(UserError, match=rf"operator 0 \(BATCH_MATMUL\): {message}"):
        IntegerModel.from_file(path)


@pytest.mark.parametrize("bias", [-(2**63), 2**63 - 1, 2**54])
def test_a_bias_that_no_exact_sum_has_room_for_is_refused(bias: int, tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.int16, [1, 4], 0.5), builder.tensor(np.int16, [1, 2], 2.0**20)
    weights = builder.constant(np.ones((2, 4), np.int8), np.full(2, 2.0**-20))
    biases = builder.constant(np.array([0, bias]), np.full(2, 2.0**-21))
    options = {"quantizedBiasType": 4}
    builder.operator("FULLY_CONNECTED", [source, weights, biases], [output], "FullyConnectedOptions", **options)
    path = builder.save(tmp_path / "dense.tflite", [source], [output])
    with pytest.raises(
        UserError, match=r"operator 0 \(FULLY_CONNECTED\): accumulators may overflow; this cannot be exact"
    ):
        IntegerModel.from_file(path)


def test_a_mean_that_a_scale_takes_beyond_32_bits_is_refused(tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.int16, [1, 4, 5, 18], 0.5), builder.tensor(np.int16, [1, 4, 5, 1], 2.0**-20)
    axes = builder.constant(np.array([3], np.int32))
    builder.operator("MEAN", [source, axes], [output], "ReducerOptions", keepDims=True)
    path = builder.save(tmp_path / "mean.tflite", [source], [output])
    with pytest.raises(UserError, match=r"operator 0 \(MEAN\): the sum may overflow 32 bits; this cannot be exact"):
        IntegerModel.from_file(path)


def test_codes_that_a_scale_takes_beyond_32_bits_are_refused(tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 4], 0.5), builder.tensor(np.int8, [1, 4], 2.0**-24)
    builder.operator("QUANTIZE", [source], [output], "QuantizeOptions")
    path = builder.save(tmp_path / "quantize.tflite", [source], [output])
    with pytest.raises(UserError, match=r"operator 0 \(QUANTIZE\): codes may overflow 32 bits; this cannot be exact"):
        IntegerModel.from_file(path)


def test_what_is_told_without_tensorflow_is_what_the_model_has():
    assert set(LAYERS) == set(operators.LAYERS)


def _in_float32(path: Path, *names: str, last: str = "QUANTIZE") -> str:
    """Functions in float32 between DEQUANTIZE and an operator that takes it back to int8."""
    builder, shape = Builder(), [1, 2, 2, 1]
    source, output = builder.tensor(np.int8, shape, 0.1), builder.tensor(np.int8, shape, 0.1)
    reals = [builder.tensor(np.float32, shape) for _ in range(len(names) + 1)]
    builder.operator("DEQUANTIZE", [source], reals[:1])
    for place, name in enumerate(names):
        builder.operator(name, [reals[place]], [reals[place + 1]])
    builder.operator(last, [reals[-1]], [output])
    return builder.save(path, [source], [output])


@pytest.mark.parametrize(
    ("names", "kernels", "message"),
    [
        (["RSQRT"], "reference", r"operator 0 \(DEQUANTIZE\): is not supported in this place"),
        (["NEG", "LOG_SOFTMAX"], "reference", r"operator 2 \(LOG_SOFTMAX\): is not supported; supported: ABS, "),
        (["ELU"], "builtin", r"operator 1 \(ELU\): is computed in another way for the last values of a batch; this "),
    ],
)
def test_what_is_not_made_value_by_value_in_float32_is_named(tmp_path, names, kernels, message):
    path = _in_float32(tmp_path / "island.tflite", *names)
    with pytest.raises(UserError, match=message):
        IntegerModel.from_file(path, kernels)


def test_a_sum_is_refused_on_kernels_that_sum_wrong(tmp_path):
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 2, 2, 3], 0.1), builder.tensor(np.int8, [1, 3], 0.4)
    builder.operator("SUM", [source, builder.constant(np.array([1, 2], np.int32))], [output], "ReducerOptions")
    path = builder.save(tmp_path / "sum.tflite", [source], [output])
    line = (
        r"operator 0 \(SUM\): is summed wrong by the interpreter's reference kernels; choose kernels builtin or xnnpack"
    )
    with pytest.raises(UserError, match=line):
        IntegerModel.from_file(path, "reference")


def test_float_network_is_refused(tmp_path):
    builder = Builder()
    first, second = (builder.tensor(np.float32, [1, 2, 2, 1]) for _ in range(2))
    options = {"filterHeight": 1, "filterWidth": 1, "strideH": 1, "strideW": 1}
    builder.operator("MAX_POOL_2D", [first], [second], "Pool2DOptions", **options)
    path = builder.save(tmp_path / "float.tflite", [first], [second])
    with pytest.raises(UserError, match="FLOAT32 input is not converted"):
        IntegerModel.from_file(path)
