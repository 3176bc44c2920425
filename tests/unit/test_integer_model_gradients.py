"""Gradients of the integer model on one dense layer, where they are known."""

from __future__ import annotations

import brightness_network
import numpy as np
import pytest
import tensorflow as tf
from scipy.stats import norm
from tflite_builder import Builder

from qnn_robustness.quantization.flatbuffer import read_graph
from qnn_robustness.quantization.importing.integer_file import ends_in_softmax
from qnn_robustness.quantization.integer_model.exactness import check_exactness
from qnn_robustness.quantization.integer_model.model import KERNELS, IntegerModel
from qnn_robustness.quantization.tflite_model import TFLiteModel


def _linear_network(path, input_scale=1 / 255, input_zero_point=-128, output_scale=0.5, activation=0) -> str:
    """One fully connected layer of 2 inputs and 3 outputs, weights below, bias 0."""
    builder = Builder()
    source = builder.tensor(np.int8, [1, 1, 1, 2], input_scale, input_zero_point)
    flat = builder.tensor(np.int8, [1, 2], input_scale, input_zero_point)
    builder.operator("RESHAPE", [source, builder.constant(np.array([-1, 2], np.int32))], [flat])
    weights = builder.constant(WEIGHTS, 0.05)
    bias = builder.constant(np.zeros(3, np.int32), input_scale * 0.05)
    output = builder.tensor(np.int8, [1, 3], output_scale, 0)
    options = {"fusedActivationFunction": activation}
    builder.operator("FULLY_CONNECTED", [flat, weights, bias], [output], "FullyConnectedOptions", **options)
    return builder.save(path, [source], [output])


WEIGHTS = np.array([[100, -50], [-120, 30], [7, 64]], np.int8)


def _gradients(model: IntegerModel, x: np.ndarray) -> np.ndarray:
    """Gradient of each logit [classes, N, ...]."""
    x = tf.constant(x)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(x)
        logits = tf.unstack(model.logits(x), axis=1)
    return np.stack([tape.gradient(logit, x).numpy() for logit in logits])


@pytest.mark.parametrize("kernels", KERNELS["int8"])
def test_unsaturated_gradient_is_the_real_matrix(tmp_path, kernels):
    """Without clipping the straight-through gradient of a linear layer is its dequantized weights."""
    model = IntegerModel.from_file(_linear_network(tmp_path / "linear.tflite"), kernels)
    gradient = _gradients(model, np.full((1, 1, 1, 2), 0.5, np.float32))[:, 0, 0, 0]
    np.testing.assert_allclose(gradient, WEIGHTS * 0.05, rtol=1e-5)


def test_straight_through_gradient_is_zero_exactly_where_clipped(tmp_path):
    """Output scale 0.001 saturates outputs 0 and 1; output 2 is below the limit only for small inputs."""
    model = IntegerModel.from_file(_linear_network(tmp_path / "linear.tflite", output_scale=0.02))
    x = np.array([[0.9, 0.1], [0.01, 0.01]], np.float32).reshape(2, 1, 1, 2)
    real = np.einsum("oi,ni->no", WEIGHTS * 0.05, np.round(x[:, 0, 0] * 255) / 255) / 0.02
    inside = (np.round(real) >= -128) & (np.round(real) <= 127)
    assert inside.any()
    assert not inside.all()
    gradient = _gradients(model, x)[:, :, 0, 0]
    np.testing.assert_allclose(gradient, inside.T[..., None] * (WEIGHTS * 0.05)[:, None, :], rtol=1e-5)


def test_saturated_scores_have_the_gradient_that_leads_back(tmp_path):
    model = IntegerModel.from_file(_linear_network(tmp_path / "linear.tflite", output_scale=0.02))
    x = tf.constant(np.array([0.9, 0.1], np.float32).reshape(1, 1, 1, 2))
    with tf.GradientTape() as tape:
        tape.watch(x)
        logits = model.logits(x, through_saturation=True)
        total = logits[0, 0]
    assert logits[0, 0] == 127 * np.float32(0.02)
    np.testing.assert_allclose(tape.gradient(total, x)[0, 0, 0], WEIGHTS[0] * 0.05, rtol=1e-5)
    np.testing.assert_array_equal(logits, model.logits(x))


def test_smooth_gradient_passes_where_clipped(tmp_path):
    path = _linear_network(tmp_path / "linear.tflite", output_scale=0.02, activation=1)
    x = np.array([0.1, 0.25], np.float32).reshape(1, 1, 1, 2)  # real output 0 is -0.125: a dead unit
    hard = _gradients(IntegerModel.from_file(path), x)[:, 0, 0, 0]
    soft = _gradients(IntegerModel.from_file(path, estimator="smooth"), x)[:, 0, 0, 0]
    assert not hard[0].any()
    assert np.all(soft[0] * WEIGHTS[0] > 0)
    exact = IntegerModel.from_file(path).logits(x).numpy()
    np.testing.assert_array_equal(IntegerModel.from_file(path, estimator="smooth").logits(x).numpy(), exact)


def test_inputs_beyond_the_range_of_codes_get_no_gradient(tmp_path):
    model = IntegerModel.from_file(_linear_network(tmp_path / "linear.tflite"))
    x = np.array([0.5, 1.2], np.float32).reshape(1, 1, 1, 2)
    gradient = _gradients(model, x)[:, 0, 0, 0]
    assert gradient[:, 0].all()
    assert not gradient[:, 1].any()


def test_quantization_rounds_halves_to_even_and_saturates(tmp_path):
    path = _linear_network(tmp_path / "linear.tflite", input_scale=0.25, input_zero_point=-3)
    model = IntegerModel.from_file(path)
    x = np.array([0.125, 0.375, -0.125, -0.375, 1.0, 99.0, -99.0], np.float32).reshape(7, 1, 1, 1)
    x = np.repeat(x, 2, axis=3)
    np.testing.assert_array_equal(model.quantize(x)[:, 0, 0, 0], [-3, -1, -3, -5, 1, 127, -128])


@pytest.mark.parametrize("precision", ["int8", "int16"])
def test_gradient_of_pairs_is_that_of_real_numbers(precision, tmp_path):
    """(x * m + c) * x beside x, with a constant m for each channel: derivatives 2 m x + c and 1."""
    scale, dtype = (1 / 64, np.int8) if precision == "int8" else (2.0**-13, np.int16)
    builder = Builder()
    source = builder.tensor(dtype, [1, 1, 1, 2], scale)
    factor = builder.constant(np.array([30, -60], dtype), 1 / 64)
    shift = builder.constant(np.array([10], dtype), 1 / 32)
    product, total, square = (builder.tensor(dtype, [1, 1, 1, 2], scale) for _ in range(3))
    builder.operator("MUL", [factor, source], [product], "MulOptions", fusedActivationFunction=0)
    builder.operator("ADD", [product, shift], [total], "AddOptions", fusedActivationFunction=0)
    builder.operator("MUL", [total, source], [square], "MulOptions", fusedActivationFunction=0)
    joined, flat = builder.tensor(dtype, [1, 1, 1, 4], scale), builder.tensor(dtype, [1, 4], scale)
    builder.operator("CONCATENATION", [square, source], [joined], "ConcatenationOptions", axis=-1)
    builder.operator("RESHAPE", [joined, builder.constant(np.array([-1, 4], np.int32))], [flat])
    model = IntegerModel.from_file(builder.save(tmp_path / "pairs.tflite", [source], [flat]))
    x = (np.array([[40, -16], [-20, 24]]) / 64).astype(np.float32)
    gradients = _gradients(model, x.reshape(2, 1, 1, 2))[:, :, 0, 0]
    real = 2 * np.array([30, -60]) / 64 * x + 10 / 32
    for channel in range(2):
        np.testing.assert_allclose(gradients[channel, :, channel], real[:, channel], atol=2 * scale)
        np.testing.assert_array_equal(gradients[channel, :, 1 - channel], 0)
        np.testing.assert_allclose(gradients[2 + channel], np.tile(np.eye(2)[channel], (2, 1)), rtol=1e-6)


MOVING = [
    ("EXPAND_DIMS", [[2]], None, {}, [1, 3, 1, 4, 2]),
    ("MIRROR_PAD", [[[0, 0], [1, 1], [0, 2], [1, 0]]], "MirrorPadOptions", {"mode": 0}, [1, 5, 6, 3]),
    ("SLICE", [[0, 1, 0, 0], [-1, 1, -1, 2]], "SliceOptions", {}, [1, 1, 4, 2]),
    ("STRIDED_SLICE", [[0, 1], [0, 0], [1, -1]], "StridedSliceOptions", {"endMask": 3}, [1, 2, 4, 2]),
    ("TILE", [[1, 1, 1, 2]], None, {}, [1, 3, 4, 4]),
    ("TRANSPOSE", [[0, 3, 1, 2]], "TransposeOptions", {}, [1, 2, 3, 4]),
]


def _moving_network(path, name, constants, table, options, shape) -> str:
    """An operator that moves values of an image of shape (3, 4, 2)."""
    builder, size = Builder(), int(np.prod(shape))
    source, moved = builder.tensor(np.int8, [1, 3, 4, 2], 1 / 64), builder.tensor(np.int8, shape, 1 / 64)
    numbers = [builder.constant(np.array(constant, np.int32)) for constant in constants]
    builder.operator(name, [source, *numbers], [moved], table, **options)
    flat = builder.tensor(np.int8, [1, size], 1 / 64)
    builder.operator("RESHAPE", [moved, builder.constant(np.array([-1, size], np.int32))], [flat])
    return builder.save(path, [source], [flat])


def _split_network(path) -> str:
    """The second of three parts of an image of shape (3, 4, 2)."""
    builder, shape = Builder(), [1, 1, 4, 2]
    source, flat = builder.tensor(np.int8, [1, 3, 4, 2], 1 / 64), builder.tensor(np.int8, [1, 8], 1 / 64)
    parts = [builder.tensor(np.int8, shape, 1 / 64) for _ in range(3)]
    builder.operator("SPLIT", [builder.constant(np.array(1, np.int32)), source], parts, "SplitOptions", numSplits=3)
    builder.operator("RESHAPE", [parts[1], builder.constant(np.array([-1, 8], np.int32))], [flat])
    return builder.save(path, [source], [flat])


def _check_gradient_where_values_come_from(path: str) -> None:
    """All values of the input differ, so that each output says which one it is."""
    model = IntegerModel.from_file(path)
    x = (np.arange(24, dtype=np.float32)[::-1] / 64).reshape(1, 3, 4, 2)
    places = 23 - np.round(model.logits(x)[0] * 64).astype(int)
    np.testing.assert_array_equal(_gradients(model, x).reshape(-1, 24), np.eye(24)[places])


@pytest.mark.parametrize(("name", "constants", "table", "options", "shape"), MOVING)
def test_gradient_of_a_moved_value_is_that_of_where_it_came_from(name, constants, table, options, shape, tmp_path):
    path = _moving_network(tmp_path / "moving.tflite", name, constants, table, options, shape)
    _check_gradient_where_values_come_from(path)


def test_each_part_of_a_split_is_an_activation_with_a_gradient(tmp_path):
    path = _split_network(tmp_path / "split.tflite")
    _check_gradient_where_values_come_from(path)
    codes = np.arange(24, dtype=np.int8).reshape(1, 3, 4, 2)
    activations = IntegerModel.from_file(path).activations(codes)
    assert list(activations) == ["0 SPLIT", "0 SPLIT 1", "0 SPLIT 2", "1 RESHAPE"]
    for row, name in enumerate(["0 SPLIT", "0 SPLIT 1", "0 SPLIT 2"]):
        np.testing.assert_array_equal(activations[name], codes[:, row : row + 1])


def _flattened(builder: Builder, path, source: int, image: int, size: int, scale: float) -> IntegerModel:
    """The model of a network that ends in the values of an image side by side."""
    flat = builder.tensor(np.int8, [1, size], scale)
    builder.operator("RESHAPE", [image, builder.constant(np.array([-1, size], np.int32))], [flat])
    return IntegerModel.from_file(builder.save(path, [source], [flat]))


@pytest.mark.parametrize(
    ("name", "scale", "constant", "derivative"),
    [
        ("MAXIMUM", 1 / 64, [-10, 10], lambda x: x > np.array([-10, 10]) / 64),
        ("MINIMUM", 1 / 64, [-10, 10], lambda x: x < np.array([-10, 10]) / 64),
        ("PRELU", 1 / 100, [20, -50], lambda x: np.where(x < 0, np.array([0.2, -0.5]), 1)),
    ],
)
def test_gradient_of_a_choice_is_that_of_what_is_chosen(name, scale, constant, derivative, tmp_path):
    builder, shape = Builder(), [1, 1, 8, 2]
    source, output = builder.tensor(np.int8, shape, 1 / 64), builder.tensor(np.int8, shape, 1 / 64)
    builder.operator(name, [source, builder.constant(np.array(constant, np.int8), scale)], [output])
    model = _flattened(builder, tmp_path / "choice.tflite", source, output, 16, 1 / 64)
    x = (np.linspace(-61, 61, 16).round() / 64).astype(np.float32).reshape(shape)
    gradients = np.diagonal(_gradients(model, x).reshape(16, 16))
    np.testing.assert_allclose(gradients, derivative(x).ravel().astype(float), rtol=1e-6)


def _products(builder: Builder, source: int) -> tuple[int, int]:
    output = builder.tensor(np.int8, [1, 2, 3, 3], 1 / 16)
    builder.operator("BATCH_MATMUL", [source, source], [output], "BatchMatMulOptions", adjY=True)
    return output, 18


def _squares(builder: Builder, source: int) -> tuple[int, int]:
    output = builder.tensor(np.int8, [1, 2, 3, 4], 1 / 8)
    constant = builder.constant(np.array([-30, 10, 0, 3], np.int8), 1 / 32)
    builder.operator("SQUARED_DIFFERENCE", [constant, source], [output], "SquaredDifferenceOptions")
    return output, 24


def _roots(builder: Builder, source: int) -> tuple[int, int]:
    output = builder.tensor(np.int8, [1, 2, 3, 4], 1 / 8)
    builder.operator("RSQRT", [source], [output])
    return output, 24


def _logarithms(builder: Builder, source: int) -> tuple[int, int]:
    output = builder.tensor(np.int8, [1, 2, 3, 4], 1 / 16)
    builder.operator("LOG", [source], [output])
    return output, 24


@pytest.mark.parametrize(
    ("build", "function"),
    [
        (_products, lambda x: tf.matmul(x, x, transpose_b=True)),
        (_squares, lambda x: (x - np.array([-30, 10, 0, 3], np.float32) / 32) ** 2),
        (_roots, tf.math.rsqrt),
        (_logarithms, tf.math.log),
    ],
)
def test_gradient_is_that_of_the_function_of_real_numbers(build, function, tmp_path):
    builder = Builder()
    source = builder.tensor(np.int8, [1, 2, 3, 4], 1 / 64)
    output, size = build(builder, source)
    (scale,) = builder.graph.tensors[output].quantization.scale
    model = _flattened(builder, tmp_path / "function.tflite", source, output, size, scale)
    x = (np.random.default_rng(0).integers(5, 90, (1, 2, 3, 4)) / 64).astype(np.float32)
    with tf.GradientTape() as tape:
        given = tf.constant(x)
        tape.watch(given)
        values = tf.reshape(function(given), [-1])
    real = tape.jacobian(values, given).numpy()
    np.testing.assert_allclose(_gradients(model, x), real, rtol=1e-4, atol=1e-6)


def _resized(builder: Builder, source: int) -> tuple[int, int]:
    output = builder.tensor(np.int8, [1, 5, 7, 4], 1 / 64)
    size, options = builder.constant(np.array([5, 7], np.int32)), {"halfPixelCenters": True}
    builder.operator("RESIZE_BILINEAR", [source, size], [output], "ResizeBilinearOptions", **options)
    return output, 140


def _grouped(builder: Builder, source: int) -> tuple[int, int]:
    output = builder.tensor(np.int8, [1, 3, 4, 6], 1 / 64)
    weights = np.random.default_rng(0).integers(-60, 60, (6, 3, 3, 2)).astype(np.int8)
    options = {"padding": 0, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    builder.operator("CONV_2D", [source, builder.constant(weights, 1 / 512)], [output], "Conv2DOptions", **options)
    return output, 72


def _transposed(strides: tuple[int, int]):
    def build(builder: Builder, source: int) -> tuple[int, int]:
        shape = [3 * strides[0], 4 * strides[1], 2]
        output = builder.tensor(np.int8, [1, *shape], 1 / 64)
        weights = np.random.default_rng(0).integers(-60, 60, (2, 3, 3, 4)).astype(np.int8)
        inputs = [builder.shape_of_batch(source, shape), builder.constant(weights, 1 / 512), source]
        options = {"padding": 0, "strideH": strides[0], "strideW": strides[1]}
        builder.operator("TRANSPOSE_CONV", inputs, [output], "TransposeConvOptions", **options)
        return output, int(np.prod(shape))

    return build


@pytest.mark.parametrize("build", [_resized, _grouped, _transposed((2, 2)), _transposed((1, 2))])
def test_gradient_of_a_linear_operator_is_the_operator(build, tmp_path):
    """It maps the input to the output, up to the rounding of the output."""
    builder = Builder()
    source = builder.tensor(np.int8, [1, 3, 4, 4], 1 / 64)
    model = _flattened(builder, tmp_path / "linear.tflite", source, *build(builder, source), 1 / 64)
    x = np.random.default_rng(1).integers(-60, 60, (1, 3, 4, 4)).astype(np.float32) / 64
    mapped = _gradients(model, x).reshape(-1, 48) @ x.ravel()
    assert np.abs(mapped).max() > 0.2
    assert np.abs(mapped).max() < 1.9, "nothing is clipped"
    np.testing.assert_allclose(mapped, model.logits(x)[0], atol=0.51 / 64)


@pytest.mark.parametrize(
    ("name", "options", "derivative"),
    [
        ("ABS", {}, np.sign),
        ("ELU", {}, lambda x: np.exp(np.minimum(x, 0))),
        ("EXP", {}, lambda x: np.where(np.exp(x) < 128 / 14, np.exp(x), 0)),
        ("GELU", {"approximate": False}, lambda x: norm.cdf(x) + x * norm.pdf(x)),
        ("RELU", {}, lambda x: x > 0),
        ("RELU6", {}, lambda x: (x > 0) & (x < 6)),
        ("LEAKY_RELU", {"alpha": 0.25}, lambda x: np.where(x < 0, 0.25, 1)),
        ("LOGISTIC", {}, lambda x: np.exp(-x) / (1 + np.exp(-x)) ** 2),
        ("TANH", {}, lambda x: 1 / np.cosh(x) ** 2),
        ("HARD_SWISH", {}, lambda x: np.where(np.abs(x) < 3, (2 * x + 3) / 6, x > 0)),
    ],
)
def test_gradient_of_a_table_is_that_of_its_function(name, options, derivative, tmp_path):
    fixed = {"LOGISTIC": (2.0**-8, -128), "TANH": (2.0**-7, 0)}
    builder = Builder()
    source = builder.tensor(np.int8, [1, 1, 1, 16], 1 / 16)
    middle = builder.tensor(np.int8, [1, 1, 1, 16], *fixed.get(name, (1 / 14, 0)))
    flat = builder.tensor(np.int8, [1, 17], *fixed.get(name, (1 / 14, 0)))  # one more class: these are no last scores
    wider = builder.tensor(np.int8, [1, 1, 1, 17], *fixed.get(name, (1 / 14, 0)))
    table = {"GELU": "GeluOptions", "LEAKY_RELU": "LeakyReluOptions"}.get(name)
    builder.operator(name, [source], [middle], table, **options)
    pads = builder.constant(np.array([[0, 0], [0, 0], [0, 0], [0, 1]], np.int32))
    builder.operator("PAD", [middle, pads], [wider], "PadOptions")
    builder.operator("RESHAPE", [wider, builder.constant(np.array([-1, 17], np.int32))], [flat])
    model = IntegerModel.from_file(builder.save(tmp_path / "table.tflite", [source], [flat]), "builtin")
    x = (np.linspace(-115, 115, 16).round() / 16).astype(np.float32)
    gradients = np.diagonal(_gradients(model, x.reshape(1, 1, 1, 16))[:, 0, 0, 0])
    np.testing.assert_allclose(gradients, derivative(x.astype(np.float64)), atol=1e-5)


def test_a_final_logistic_function_saturates_no_gradient(tmp_path):
    """Scores of classes that exclude each other not: the logits before it, which have the same arg-max."""
    logits = IntegerModel.from_file(brightness_network.save(tmp_path / "logits.tflite", end=None))
    path = brightness_network.save(tmp_path / "logistic.tflite", end="LOGISTIC")
    model = IntegerModel.from_file(path)
    samples = brightness_network.images().samples
    x = samples.astype(np.float32)
    assert set(np.unique(model.scores(x))) == {0, np.float32(255 / 256)}, "all are saturated"
    np.testing.assert_array_equal(model.logits(x), logits.logits(x))
    np.testing.assert_array_equal(_gradients(model, x), _gradients(logits, x))
    assert np.abs(_gradients(model, x)).min() > 0
    codes = model.quantize(x)
    given = TFLiteModel(path, "reference").run(codes)
    np.testing.assert_array_equal(model.forward_quantized(codes), given)


@pytest.mark.parametrize("kernels", KERNELS["int8"])
def test_a_softmax_within_the_network_has_the_gradient_of_the_real_one(tmp_path, kernels):
    builder = Builder()
    source, shares = builder.tensor(np.int8, [1, 4], 1 / 64, 0), builder.tensor(np.int8, [1, 4], 1 / 256, -128)
    builder.operator("SOFTMAX", [source], [shares], "SoftmaxOptions", beta=2.0)
    codes = np.array([[100, -50, 20, 0], [-120, 30, 0, 9], [7, 64, -80, 33]], np.int8)
    weights, bias = builder.constant(codes, 0.05), builder.constant(np.zeros(3, np.int32), 0.05 / 256)
    output = builder.tensor(np.int8, [1, 3], 0.1, 0)
    builder.operator("FULLY_CONNECTED", [shares, weights, bias], [output], "FullyConnectedOptions")
    path = builder.save(tmp_path / "softmax.tflite", [source], [output])
    x = np.random.default_rng(0).uniform(-1, 1, (5, 4)).astype(np.float32)
    share = np.exp(2 * x) / np.exp(2 * x).sum(1, keepdims=True)
    real = codes * np.float32(0.05)
    expected = 2 * share * (real[:, None] - (real[:, None] * share).sum(-1, keepdims=True))
    np.testing.assert_allclose(_gradients(IntegerModel.from_file(path, kernels), x), expected, atol=0.05)


@pytest.mark.parametrize(
    ("name", "derivative"),
    [
        ("COS", lambda x: -np.sin(x)),
        ("ELU", lambda x: np.exp(np.minimum(x, 0))),
        ("FLOOR", np.ones_like),
        ("NEG", lambda x: -np.ones_like(x)),
        ("SIGN", lambda x: np.abs(x) <= 1),
        ("SIN", np.cos),
        ("SQUARE", lambda x: 2 * x),
    ],
)
def test_gradient_of_a_function_in_float32_is_that_of_real_numbers(name, derivative, tmp_path):
    builder, shape, scale = Builder(), [1, 1, 1, 9], 1 / 32
    source, output = builder.tensor(np.int8, shape, scale), builder.tensor(np.int8, shape, 1 / 16)
    reals = [builder.tensor(np.float32, shape) for _ in range(2)]
    builder.operator("DEQUANTIZE", [source], reals[:1])
    builder.operator(name, reals[:1], reals[1:])
    builder.operator("QUANTIZE", reals[1:], [output])
    flat = builder.tensor(np.int8, [1, 9], 1 / 16)
    builder.operator("RESHAPE", [output, builder.constant(np.array([-1, 9], np.int32))], [flat])
    model = IntegerModel.from_file(builder.save(tmp_path / "function.tflite", [source], [flat]), "xnnpack")
    x = np.arange(-60, 61, 15, dtype=np.float32).reshape(1, 1, 1, 9) / 32
    gradient = np.diagonal(_gradients(model, x)[:, 0, 0, 0])
    np.testing.assert_allclose(gradient, derivative(x[0, 0, 0]), atol=1e-5)
    assert list(model.activations(np.zeros((1, 1, 1, 9), np.int8))) == ["0 DEQUANTIZE", "3 RESHAPE"]


def test_gradient_of_a_quotient_is_that_of_real_numbers(tmp_path):
    builder, shape = Builder(), [1, 1, 1, 3]
    source, output = builder.tensor(np.int8, shape, 1 / 64), builder.tensor(np.int8, shape, 1 / 64)
    builder.operator(
        "DIV", [source, builder.constant(np.array([64, -32, 100], np.int8), 1 / 64)], [output], "DivOptions"
    )
    model = _flattened(builder, tmp_path / "quotient.tflite", source, output, 3, 1 / 64)
    gradient = np.diagonal(_gradients(model, np.full((1, 1, 1, 3), 0.25, np.float32))[:, 0, 0, 0])
    np.testing.assert_allclose(gradient, [1, -2, 0.64], rtol=1e-5)


def test_gradient_goes_to_the_operand_that_a_comparison_chooses(tmp_path):
    """x where it is above a quarter, otherwise a constant."""
    builder, shape = Builder(), [1, 1, 1, 4]
    source, output = builder.tensor(np.int8, shape, 1 / 64), builder.tensor(np.int8, shape, 1 / 64)
    condition = builder.tensor(np.bool_, shape)
    bound, other = (builder.constant(np.array(code, np.int8), 1 / 64) for code in (16, -5))
    builder.operator("GREATER", [source, bound], [condition], "GreaterOptions")
    builder.operator("SELECT_V2", [condition, source, other], [output], "SelectV2Options")
    model = _flattened(builder, tmp_path / "chosen.tflite", source, output, 4, 1 / 64)
    x = np.array([-0.5, 0.25, 0.375, 1], np.float32).reshape(1, 1, 1, 4)
    np.testing.assert_array_equal(model.logits(x)[0] * 64, [-5, -5, 24, 64])
    np.testing.assert_allclose(_gradients(model, x)[:, 0, 0, 0], np.diag([0, 0, 1, 1]), atol=1e-6)
    chosen = model.activations(np.array([[[[1, 16, 17, 99]]]], np.int8))["0 GREATER"]
    np.testing.assert_array_equal(chosen, [[[[False, False, True, True]]]])


@pytest.mark.parametrize("end", ["SOFTMAX", "LOGISTIC"])
@pytest.mark.parametrize("ends", [np.int8, np.float32])
def test_a_shape_that_is_taken_off_behind_the_scores_hides_them_from_nobody(tmp_path, end, ends):
    """As MobileNet has it: convolution, softmax of [1, 1, 1, K], reshape to [1, K]."""
    path = brightness_network.save(tmp_path / "reshaped.tflite", end=end, ends=ends, reshaped=True)
    plain = IntegerModel.from_file(brightness_network.save(tmp_path / "plain.tflite", end=end, ends=ends))
    model = IntegerModel.from_file(path)
    samples = brightness_network.images().samples.astype(np.float32)
    assert check_exactness(model, path, samples) == 0
    np.testing.assert_array_equal(model.logits(samples), plain.logits(samples))
    assert np.abs(model.logits(samples)).max() > 1000
    assert ends_in_softmax(read_graph(path)) is (end == "SOFTMAX")
