"""The integer model as a whole: exactness on networks, gradients, refusals, Foolbox."""

from __future__ import annotations

import functools
import os
from pathlib import Path

import keras
import numpy as np
import pytest
import tensorflow as tf
from converted_networks import NETWORKS, convert, randomize
from tflite_builder import Builder, save_logistic

from qnn_robustness.attacks.crafting.sources import View
from qnn_robustness.attacks.crafting.sources.differentiable import seen
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.scaling import InputScaling
from qnn_robustness.quantization.flatbuffer import read_graph, with_scaling
from qnn_robustness.quantization.integer_model import arithmetic, operators
from qnn_robustness.quantization.integer_model.exactness import (
    check_exactness,
    exactness_table,
    interpreter_outputs,
    mismatch_message,
    random_inputs,
)
from qnn_robustness.quantization.integer_model.model import KERNELS, LAYERS, IntegerModel, as_foolbox
from qnn_robustness.quantization.tflite_model import TFLiteModel

VARIANTS = [
    ("residual", "int8", None, False),
    ("residual", "int8", None, True),
    ("residual", "int16", None, False),
    ("residual", "int16", np.int32, False),
    ("mobile", "int8", None, False),
    ("mobile", "int16", None, False),
    ("pooled", "int8", None, False),
    ("pooled", "int16", None, False),
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tmp_path_factory.mktemp("networks")


@functools.cache
def floats(name: str) -> keras.Model:
    """The float32 network of a name, always with the same weights."""
    return randomize(NETWORKS[name]())


@pytest.fixture(scope="module")
def network(folder):
    """A function (name, precision, bias, float_ends) -> path that converts each network once."""

    def get(name: str, precision: str = "int8", bias: type | None = None, float_ends: bool = False) -> str:
        path = folder / f"{name}-{precision}-{bias}-{float_ends}.tflite"
        return str(path) if path.exists() else convert(floats(name), path, precision, bias, float_ends)

    return get


@pytest.mark.parametrize(("name", "precision", "bias", "float_ends"), VARIANTS)
def test_converted_networks_equal_the_interpreter(network, name, precision, bias, float_ends):
    path = network(name, precision, bias, float_ends)

    def inputs(_, model):
        uniform = np.random.default_rng(1).uniform(0, 1, (100, *model.input_shape)).astype(np.float32)
        return random_inputs(model, 100) | {"uniform": uniform}

    rows = exactness_table([(name, path, precision)], None, inputs)
    assert {row["kernels"] for row in rows} == set(KERNELS[precision])
    assert all(row["bytes_compared"] > 0 and row["differing_bytes"] == 0 for row in rows), rows


TRAINED = ("kws_ref_model", "pretrainedResnet_quant", "vww_96_int8")


@pytest.mark.skipif("QNN_MODELS" not in os.environ, reason="needs trained networks (set QNN_MODELS to their folder)")
@pytest.mark.parametrize("name", TRAINED)
def test_trained_networks_equal_the_interpreter(name):
    (path,) = Path(os.environ["QNN_MODELS"]).rglob(f"{name}.tflite")
    rows = exactness_table([(name, path, "int8")], None, lambda _, model: random_inputs(model, 60))
    assert len(rows) == 6
    assert all(row["differing_bytes"] == 0 for row in rows), rows


def test_intermediate_activations_equal_the_interpreter(network):
    from ai_edge_litert.interpreter import Interpreter, OpResolverType

    path = network("mobile")
    model = IntegerModel.from_file(path, "reference")
    codes = random_inputs(model, 1)["random"]
    interpreter = Interpreter(
        path, experimental_op_resolver_type=OpResolverType.BUILTIN_REF, experimental_preserve_all_tensors=True
    )
    interpreter.allocate_tensors()
    interpreter.set_tensor(interpreter.get_input_details()[0]["index"], codes)
    interpreter.invoke()
    activations = model.activations(codes)
    assert list(activations) == [f"{layer.operator.position} {layer.operator.name}" for layer in model.layers]
    for layer, computed in zip(model.layers, activations.values(), strict=True):
        np.testing.assert_array_equal(computed, interpreter.get_tensor(layer.output.index))


def test_logits_and_scores_are_the_dequantized_outputs(network):
    path = network("residual")
    model = IntegerModel.from_file(path, "builtin")
    samples = np.random.default_rng(0).uniform(0, 1, (300, *model.input_shape)).astype(np.float32)
    codes = interpreter_outputs(model, path, model.quantize(samples))
    np.testing.assert_array_equal(model.scores(samples), (codes.astype(np.float32) + 128) / 256)
    logits = model.logits(samples).numpy()
    position = [key for key in model.activations(model.quantize(samples)) if "FULLY_CONNECTED" in key][-1]
    dense = next(layer for layer in model.layers if layer.operator.name == "FULLY_CONNECTED").output
    expected = model.activations(model.quantize(samples))[position].astype(np.float32) - dense.zero_point
    np.testing.assert_allclose(logits, expected * dense.scale, rtol=1e-6)


def test_quantization_rounds_halves_to_even_and_saturates(tmp_path):
    path = _linear_network(tmp_path / "linear.tflite", input_scale=0.25, input_zero_point=-3)
    model = IntegerModel.from_file(path)
    x = np.array([0.125, 0.375, -0.125, -0.375, 1.0, 99.0, -99.0], np.float32).reshape(7, 1, 1, 1)
    x = np.repeat(x, 2, axis=3)
    np.testing.assert_array_equal(model.quantize(x)[:, 0, 0, 0], [-3, -1, -3, -5, 1, 127, -128])


def _codes_network(path: Path, ends: type, scaling: InputScaling) -> str:
    """A network that answers with the codes of its 2 x 2 x 1 input, which go from -1 to 1."""
    scale, zero_point = 2 / 255, -1
    builder = Builder()
    source = image = builder.tensor(np.int8, [1, 2, 2, 1], scale, zero_point)
    flat = output = builder.tensor(np.int8, [1, 4], scale, zero_point)
    if ends is not np.int8:
        arguments = () if ends is np.float32 else (scale, zero_point + 128)
        source, output = builder.tensor(ends, [1, 2, 2, 1], *arguments), builder.tensor(ends, [1, 4], *arguments)
        builder.operator("QUANTIZE", [source], [image])
    size = builder.constant(np.array([-1, 4], np.int32))
    builder.operator("RESHAPE", [image, size], [flat], "ReshapeOptions", newShape=[-1, 4])
    if ends is not np.int8:
        builder.operator("DEQUANTIZE" if ends is np.float32 else "QUANTIZE", [flat], [output])
    builder.save(path, [source], [output])
    path.write_bytes(with_scaling(path, scaling))
    return str(path)


@pytest.mark.parametrize("ends", [np.int8, np.uint8, np.float32])
@pytest.mark.parametrize("kernels", KERNELS["int8"])
def test_the_input_is_quantized_as_the_file_does_it(ends: type, kernels: str, tmp_path: Path) -> None:
    """With images from -1 to 1 many grey levels lie half way between two codes."""
    path = _codes_network(tmp_path / "codes.tflite", ends, InputScaling((2.0,), (-1.0,)))
    model = IntegerModel.from_file(path, kernels)
    grey = np.broadcast_to(np.arange(256, dtype=np.float32)[:, None, None, None] / 255, (256, 2, 2, 1)).copy()
    network = TFLiteModel(path, kernels)
    codes = model.as_output_codes(network.run(network.quantize(grey)))
    np.testing.assert_array_equal(model.quantize(grey).reshape(256, 4), codes)
    # and so does the compiled function that attacks differentiate
    view = View(on_lattice=True, clean=grey)
    logits = seen(model.logits, model.input_shape, view)(tf.constant(grey)).numpy()
    np.testing.assert_array_equal(np.rint(logits / model.output_scale) - 1, codes)
    assert check_exactness(model, path, random_inputs(model, 50)["random"]) == 0
    if ends is np.float32:
        halves = np.abs(np.rint((grey * 2 - 1) / model.input_scale) - 1 - codes.reshape(grey.shape)).any(axis=(1, 2, 3))
        assert halves.any() == (kernels != "xnnpack")


@pytest.mark.parametrize("precision", ["int8", "int16"])
@pytest.mark.parametrize("shape", [(3, 3, 1), (2, 4, 3)])
def test_float_inputs_near_halves_of_codes_are_quantized_as_the_file_does_it(
    shape: tuple[int, int, int], precision: str, tmp_path: Path
) -> None:
    """Kernels divide by the scale or multiply by its reciprocal; built-in ones round the last codes in another way."""
    random, limits = np.random.default_rng(0), np.iinfo(precision)
    for scale in map(np.float32, (1 / 255, 2 / 255, 0.0107, 0.0027888673)):
        zero_point = 5 if precision == "int8" else 0
        builder = Builder()
        source = builder.tensor(np.float32, [1, *shape])
        output = builder.tensor(np.dtype(precision).type, [1, *shape], scale, zero_point)
        builder.operator("QUANTIZE", [source], [output], "QuantizeOptions")
        path = builder.save(tmp_path / "quantize.tflite", [source], [output])
        codes = random.integers(limits.min, limits.max, (300, *shape)) - zero_point
        codes[:50] = random.integers(-1, 1, (50, *shape))  # half the scale, whose quotient is half exactly
        samples = ((codes + 0.5) * np.float64(scale)).astype(np.float32)
        for kernels in KERNELS[precision]:
            assert check_exactness(IntegerModel.from_file(path, kernels), path, samples) == 0, kernels


@pytest.mark.parametrize("ratio", [1 / 300, 1 / 4, 100, 300])
@pytest.mark.parametrize("shape", [(1, 1, 1), (3, 5, 2)])
def test_quantize_rounds_the_last_codes_of_a_sample_as_the_built_in_kernel_does(
    shape: tuple[int, int, int], ratio: float, tmp_path: Path
) -> None:
    """Which answers for XNNPACK where the scales are too far apart for it."""
    builder = Builder()
    source = builder.tensor(np.int8, [1, *shape], 0.03, 39)
    output = builder.tensor(np.int8, [1, *shape], np.float32(0.03) / np.float32(ratio), -82)
    builder.operator("QUANTIZE", [source], [output], "QuantizeOptions")
    path = builder.save(tmp_path / "quantize.tflite", [source], [output])
    for kernels in KERNELS["int8"]:
        model = IntegerModel.from_file(path, kernels)
        codes = random_inputs(model, 300)["random"]
        assert check_exactness(model, path, codes) == 0, kernels
        assert check_exactness(model, path, codes[:1]) == 0, kernels


@pytest.mark.parametrize("channels", [15, 16, 20, 33])
def test_mean_of_many_channels_with_kept_dimensions(channels: int, tmp_path: Path) -> None:
    builder = Builder()
    source = builder.tensor(np.int8, [1, 4, 4, channels], 0.5, -3)
    output = builder.tensor(np.int8, [1, 1, 1, channels], 0.25, 7)
    axes = builder.constant(np.array([1, 2], np.int32))
    builder.operator("MEAN", [source, axes], [output], "ReducerOptions", keepDims=True)
    path = builder.save(tmp_path / "mean.tflite", [source], [output])
    for kernels in KERNELS["int8"]:
        model = IntegerModel.from_file(path, kernels)
        assert check_exactness(model, path, random_inputs(model, 500)["random"]) == 0, kernels


def _sum_with_zero(path: Path, slope: float) -> str:
    """Half of the input plus 0, whose scale is `slope` times that of the output."""
    builder, shape, scale = Builder(), [1, 4, 4, 4], np.float32(0.01)
    output_scale = 2 * scale
    source, output = builder.tensor(np.int8, shape, scale), builder.tensor(np.int8, shape, output_scale)
    zero = builder.tensor(np.int8, shape, np.float32(output_scale * slope))
    weights = builder.constant(np.zeros((4, 1, 1, 4), np.int8), 2.0**-7)
    bias = builder.constant(np.zeros(4, np.int32), scale * 2.0**-7)
    options = dict(padding=1, strideH=1, strideW=1, dilationHFactor=1, dilationWFactor=1)
    builder.operator("CONV_2D", [source, weights, bias], [zero], "Conv2DOptions", **options)
    builder.operator("ADD", [source, zero], [output], "AddOptions", potScaleInt16=False)
    return builder.save(path, [source], [output])


@pytest.mark.parametrize("slope", [2.0**-10, 2.0**-10.1, 2.0**-13])
@pytest.mark.parametrize("kernels", KERNELS["int8"])
def test_halves_in_sums_of_scales_far_apart_are_rounded_as_each_kernel_does(
    kernels: str, slope: float, tmp_path: Path
) -> None:
    """XNNPACK leaves an ADD whose scales are too far apart to the built-in kernel."""
    path = _sum_with_zero(tmp_path / "sum.tflite", slope)
    model = IntegerModel.from_file(path, kernels)
    codes = np.resize(np.arange(-128, 128), (4, 4, 4, 4)).astype(np.int8)
    assert check_exactness(model, path, codes) == 0


@pytest.mark.parametrize("doublings", [6, 7, 8, 10])
def test_sums_too_large_for_the_built_in_kernel_are_refused(doublings: int, tmp_path: Path) -> None:
    """It keeps them in 16 bits before it clips them."""
    builder = Builder()
    source = builder.tensor(np.int8, [1, 3, 5, 2], 0.013, 3)
    output = builder.tensor(np.int8, [1, 3, 5, 2], np.float32(0.013) * np.float32(2.0**-doublings), -128)
    builder.operator("ADD", [source, source], [output], "AddOptions", potScaleInt16=False)
    path = builder.save(tmp_path / "sum.tflite", [source], [output])
    overflow = {"reference": 99, "builtin": 7, "xnnpack": 8}
    for kernels in KERNELS["int8"]:
        if doublings < overflow[kernels]:
            model = IntegerModel.from_file(path, kernels)
            assert check_exactness(model, path, random_inputs(model, 100)["random"]) == 0, kernels
        else:
            with pytest.raises(UserError, match=r"operator 0 \(ADD\): sums may overflow 16 bits"):
                IntegerModel.from_file(path, kernels)


def _dense_near_ties(path: Path, kind: type, bias_type: type, scales: np.ndarray, output_scale: np.float32) -> str:
    """A fully connected layer whose accumulators lie around the 64 steps that its biases choose."""
    random, channels = np.random.default_rng(0), 64
    input_scale, levels = np.float32(0.00731), random.integers(1, np.iinfo(kind).max, channels) - 0.5
    real = np.float64(input_scale) * np.broadcast_to(scales, channels).astype(np.float64) / np.float64(output_scale)
    steps = np.rint(random.choice([-1, 1], channels) * levels / real + random.integers(-50, 51, channels))
    builder = Builder()
    source, output = builder.tensor(kind, [1, 1], input_scale), builder.tensor(kind, [1, channels], output_scale)
    weights = builder.constant(np.ones((channels, 1), np.int8), scales)
    bias = builder.constant(np.clip(steps, -(2**29), 2**29).astype(bias_type), scales * input_scale)
    options = {"quantizedBiasType": 2 if bias_type is np.int32 else 4}
    builder.operator("FULLY_CONNECTED", [source, weights, bias], [output], "FullyConnectedOptions", **options)
    return builder.save(path, [source], [output])


@pytest.mark.parametrize("channelwise", [False, True])
@pytest.mark.parametrize(("kind", "bias_type"), [(np.int8, np.int32), (np.int16, np.int32), (np.int16, np.int64)])
def test_dense_layers_round_large_accumulators_near_ties_as_each_kernel_does(
    kind: type, bias_type: type, channelwise: bool, tmp_path: Path
) -> None:
    """Kernels differ in the last bits of the multiplier, which only accumulators of 20 to 29 bits show."""
    precision = np.dtype(kind).name
    for exponent in np.linspace(20, 29, 4):
        scales = np.float32(2.0) ** np.linspace(-9, -6, 64 if channelwise else 1).astype(np.float32)
        output_scale = np.float32(scales.max() * np.float32(0.00731) * 2.0**exponent / np.iinfo(kind).max)
        path = _dense_near_ties(tmp_path / "dense.tflite", kind, bias_type, scales, output_scale)
        for kernels in KERNELS[precision]:
            model = IntegerModel.from_file(path, kernels)
            codes = np.arange(-128, 128).astype(kind)[:, None]
            assert check_exactness(model, path, codes) == 0, (kernels, exponent)


@pytest.mark.parametrize(("kind", "bias_type"), [(np.int8, np.int32), (np.int16, np.int32), (np.int16, np.int64)])
def test_dense_layers_round_halves_as_each_kernel_does(kind: type, bias_type: type, tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(kind, [1, 1], 0.25), builder.tensor(kind, [1, 1], 0.5)
    weights = builder.constant(np.ones((1, 1), np.int8), 1.0)
    bias = builder.constant(np.zeros(1, bias_type), 0.25)
    options = {"quantizedBiasType": 2 if bias_type is np.int32 else 4}
    builder.operator("FULLY_CONNECTED", [source, weights, bias], [output], "FullyConnectedOptions", **options)
    path = builder.save(tmp_path / "dense.tflite", [source], [output])
    codes = np.arange(-9, 10).astype(kind)[:, None]
    for kernels in KERNELS[np.dtype(kind).name]:
        assert check_exactness(IntegerModel.from_file(path, kernels), path, codes) == 0, kernels


@pytest.mark.parametrize("precision", ["int8", "int16"])
def test_weights_without_bias_and_with_a_channel_of_zeros(precision: str, tmp_path: Path) -> None:
    kind = np.dtype(precision).type
    builder = Builder()
    source, output = (builder.tensor(kind, [1, 2, 2, 2], scale) for scale in (0.01, 0.017))
    weights = builder.constant(np.array([[[[0, 87]]]], np.int8), [0.0, 0.013], axis=3)
    options = dict(strideW=1, strideH=1, depthMultiplier=1)
    builder.operator("DEPTHWISE_CONV_2D", [source, weights], [output], "DepthwiseConv2DOptions", **options)
    flat = builder.tensor(kind, [1, 8], 0.017)
    size = builder.constant(np.array([-1, 8], np.int32))
    builder.operator("RESHAPE", [output, size], [flat], "ReshapeOptions", newShape=[-1, 8])
    path = builder.save(tmp_path / "network.tflite", [source], [flat])
    # without a bias TFLite's other int8 kernels crash
    for kernels in KERNELS[precision] if precision == "int16" else ("reference",):
        model = IntegerModel.from_file(path, kernels)
        assert check_exactness(model, path, random_inputs(model, 4000)["random"]) == 0, kernels


@pytest.mark.parametrize("scale", [0.0, 1e-42])
@pytest.mark.parametrize("activation", [0, 3])
def test_a_channel_without_scale_is_left_to_the_built_in_kernel_by_xnnpack(
    scale: float, activation: int, tmp_path: Path
) -> None:
    builder, random = Builder(), np.random.default_rng(0)
    scales = np.linspace(0.004, 0.009, 8, dtype=np.float32)
    scales[2] = scale
    source = builder.tensor(np.int8, [1, 8], 0.02, 3)
    output = builder.tensor(np.int8, [1, 8], np.float32(0.05 if activation == 0 else 4 / 75), -100)
    weights = builder.constant(random.integers(-60, 60, (8, 8)).astype(np.int8), scales)
    bias = builder.constant(random.integers(-2000, 2000, 8).astype(np.int32), scales * np.float32(0.02))
    options = {"fusedActivationFunction": activation}
    builder.operator("FULLY_CONNECTED", [source, weights, bias], [output], "FullyConnectedOptions", **options)
    path = builder.save(tmp_path / "dense.tflite", [source], [output])
    for kernels in KERNELS["int8"]:
        model = IntegerModel.from_file(path, kernels)
        assert check_exactness(model, path, random_inputs(model, 4000)["random"]) == 0, kernels


# -- gradients -------------------------------------------------------------------------------------


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


@pytest.mark.parametrize(("name", "precision", "bias", "float_ends"), VARIANTS)
def test_gradients_agree_with_the_float_network(network, name, precision, bias, float_ends):
    """Only 8-bit weights separate int16 from float32; int8 adds rounding of every activation."""
    path = network(name, precision, bias, float_ends)
    x = tf.constant(np.random.default_rng(3).uniform(0.1, 0.9, (24, *floats(name).input_shape[1:])), tf.float32)

    def gradient(function):
        with tf.GradientTape() as tape:
            tape.watch(x)
            outputs = function(x)
            difference = outputs[:, 0] - outputs[:, 1]
        return tape.gradient(difference, x).numpy().reshape(len(x), -1)

    expected = gradient(_float_logits(name))
    for kernels in KERNELS[precision]:
        computed = gradient(IntegerModel.from_file(path, kernels).logits)
        norms = np.linalg.norm(computed, axis=1) * np.linalg.norm(expected, axis=1)
        cosines = np.sum(computed * expected, axis=1) / norms
        assert np.median(cosines) > (0.98 if precision == "int16" else 0.7)
        lengths = np.linalg.norm(computed, axis=1) / np.linalg.norm(expected, axis=1)
        assert abs(np.median(lengths) - 1) < (0.05 if precision == "int16" else 0.3)


def _float_logits(name: str) -> keras.Model:
    """The float32 network up to its logits."""
    model = floats(name)
    dense = model.layers[-1]
    if dense.activation is keras.activations.linear:
        return model
    features = keras.Model(model.input, dense.input)
    return lambda x: tf.matmul(features(x), dense.kernel) + dense.bias


def test_foolbox_attacks_the_integer_network(network):
    import foolbox

    model = IntegerModel.from_file(network("residual"))
    fmodel = as_foolbox(model)
    x = tf.constant(np.random.default_rng(0).uniform(0.2, 0.8, (20, *model.input_shape)).astype(np.float32))
    labels = tf.argmax(fmodel(x), axis=-1)
    _, clipped, success = foolbox.attacks.LinfPGD(steps=20)(fmodel, x, labels, epsilons=0.4)
    fooled = np.argmax(model.logits(clipped), axis=1) != labels.numpy()
    assert success.numpy().any()
    np.testing.assert_array_equal(fooled, success.numpy())


# -- refusals --------------------------------------------------------------------------------------


def test_unsupported_operator_is_named_with_its_position(tmp_path):
    path = save_logistic(tmp_path / "logistic.tflite")
    with pytest.raises(UserError, match=r"logistic\.tflite: operator 1 \(LOGISTIC\): is not supported"):
        IntegerModel.from_file(path)


def test_a_slice_of_activations_is_named_and_not_taken_for_one_of_shapes(tmp_path):
    builder = Builder()
    source, cut = builder.tensor(np.int8, [1, 4, 4, 1], 0.1), builder.tensor(np.int8, [1, 2, 4, 1], 0.1)
    bounds = [builder.constant(np.array(values, np.int32)) for values in ([0, 1, 0, 0], [1, 3, 4, 1], [1, 1, 1, 1])]
    builder.operator("STRIDED_SLICE", [source, *bounds], [cut], "StridedSliceOptions")
    path = builder.save(tmp_path / "slice.tflite", [source], [cut])
    with pytest.raises(UserError, match=r"operator 0 \(STRIDED_SLICE\): is not supported in this place"):
        IntegerModel.from_file(path)
    with pytest.raises(UserError, match=r"operator 0 \(STRIDED_SLICE\): is not supported in this place"):
        operators.check_operators(read_graph(path))


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


@pytest.mark.parametrize("sizes", [[-1, 16], [1, 2, 16], [32]])
def test_a_constant_shape_other_than_that_of_the_output_is_refused(sizes: list[int], tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.int8, [1, 4, 4, 2], 0.1), builder.tensor(np.int8, [1, 32], 0.1)
    builder.operator("RESHAPE", [source, builder.constant(np.array(sizes, np.int32))], [output])
    path = builder.save(tmp_path / "reshape.tflite", [source], [output])
    with pytest.raises(UserError, match=r"operator 0 \(RESHAPE\): gives \(.*\); the file says \(1, 32\)"):
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


def test_float_network_is_refused(tmp_path):
    builder = Builder()
    first, second = (builder.tensor(np.float32, [1, 2, 2, 1]) for _ in range(2))
    options = {"filterHeight": 1, "filterWidth": 1, "strideH": 1, "strideW": 1}
    builder.operator("MAX_POOL_2D", [first], [second], "Pool2DOptions", **options)
    path = builder.save(tmp_path / "float.tflite", [first], [second])
    with pytest.raises(UserError, match="FLOAT32 input is not converted"):
        IntegerModel.from_file(path)


def test_unknown_kernels_and_estimator_are_refused(network):
    path = network("residual", "int16")
    with pytest.raises(UserError, match="kernels 'xnnpack' do not exist for int16"):
        IntegerModel.from_file(path, "xnnpack")
    with pytest.raises(UserError, match="did you mean 'smooth'"):
        IntegerModel.from_file(path, estimator="smoth")


def test_a_mismatch_is_counted_and_worded(network, monkeypatch):
    path = network("residual")
    model = IntegerModel.from_file(path, "builtin")
    codes = random_inputs(model, 8)["random"]
    outputs = model.forward_quantized(codes)
    outputs[3, 2] ^= 1
    monkeypatch.setattr(model, "forward_quantized", lambda _: outputs)
    assert check_exactness(model, path, codes) == 1
    monkeypatch.setattr("platform.machine", lambda: "aarch64")
    assert "use kernels `reference`" in mismatch_message(model, 1)
    monkeypatch.setattr("platform.machine", lambda: "x86_64")
    assert "report it" in mismatch_message(model, 1)


# -- arithmetic against Python's unbounded integers ------------------------------------------------


def _double_rounding(x: int, multiplier: int, shift: int, rounding: str) -> int:
    if rounding == "single":
        return (x * multiplier + (1 << (30 - shift))) >> (31 - shift)
    high = ((x << max(shift, 0)) * multiplier + (1 << 30)) >> 31
    right = max(-shift, 0)
    if right == 0:
        return high
    magnitude = (abs(high) + (1 << (right - 1))) >> right
    up = (high + (1 << (right - 1))) >> right
    return up if rounding == "up" else (magnitude if high >= 0 else -magnitude)


@pytest.mark.parametrize("rounding", ["single", "away", "up"])
def test_scaling_survives_accumulators_near_two_to_the_thirtieth(rounding):
    random = np.random.default_rng(0)
    for shift in (-20, -9, -1, 0, 1, 7):
        limit = 2 ** (31 - max(shift, 0)) - 1
        x = np.concatenate([random.integers(-limit, limit, 500), [limit, -limit, 0, 1, -1, limit // 2]])
        for multiplier in (2**30, 2**31 - 1, int(random.integers(2**30, 2**31))):
            expected = [_double_rounding(int(value), multiplier, shift, rounding) for value in x]
            exact = arithmetic.scale_exactly(x, multiplier, shift, rounding)
            np.testing.assert_array_equal(exact, expected)
            split = arithmetic.scale_split(tf.constant(x, tf.float64), multiplier, shift, rounding)
            np.testing.assert_array_equal(split.numpy(), expected)


def test_the_proof_rejects_a_form_that_is_wrong_at_one_step():
    multiplier, shift = np.array([1_500_000_001]), np.array([-9])
    slope, bias, bound = multiplier * 2.0 ** (shift - 31), np.array([12345]), np.array([200_000.0])

    def exact(x):
        return arithmetic.scale_exactly(x + bias, multiplier, shift, "away")

    fast = arithmetic.fast_double_rounding(multiplier, shift, bias, "away", False)
    proved = arithmetic.proved_equal(fast, exact, slope, bias, bound, -128, 127)
    assert proved
    # Shift one step of the output by one accumulator.
    accumulators = np.arange(-200_000, 200_001)
    clipped = np.clip(exact(accumulators), -128, 127)
    step = accumulators[np.flatnonzero(np.diff(clipped))[77] + 1]

    def wrong(x):
        return fast(x) - (np.asarray(x) == step)

    assert not arithmetic.proved_equal(wrong, exact, slope, bias, bound, -128, 127)
    everywhere = np.arange(-200_000, 200_001)[:, None]
    np.testing.assert_array_equal(
        np.clip(fast(everywhere.astype(np.float64)), -128, 127), np.clip(exact(everywhere), -128, 127)
    )
