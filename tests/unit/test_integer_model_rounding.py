"""The arithmetic of the integer model: roundings of each kernel set, against the interpreter and Python's integers."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf
from tflite_builder import Builder

from qnn_robustness.attacks.crafting.sources import View
from qnn_robustness.attacks.crafting.sources.differentiable import seen
from qnn_robustness.common.errors import UserError
from qnn_robustness.common.scaling import InputScaling
from qnn_robustness.quantization.flatbuffer import flat_shape, read_graph, with_scaling
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.exactness import (
    check_exactness,
    random_inputs,
)
from qnn_robustness.quantization.integer_model.model import KERNELS, IntegerModel
from qnn_robustness.quantization.tflite_model import TFLiteModel
from qnn_robustness.quantization.trial import try_out


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


@pytest.mark.parametrize("rounding", ["single", "away"])
@pytest.mark.parametrize("real", [0.5, 0.25, 0.4999999, 0.3, 0.0123, 3e-6])
def test_codes_are_scaled_as_unbounded_integers_are(real: float, rounding: str) -> None:
    """All codes of 16 bits, which ADD shifts by 15 bits before it scales them."""
    multiplier, shift = arithmetic.quantize_multiplier(real)
    codes = np.arange(-32768, 32768)
    expected = np.array([_double_rounding(int(code) << 15, multiplier, shift, rounding) for code in codes])
    scale, largest = arithmetic.scaled_codes(multiplier, shift, 15, rounding, (-32768, 32767))
    compiled = tf.function(scale)(tf.constant(codes, tf.float32))
    np.testing.assert_array_equal(compiled.numpy(), expected)
    assert largest == np.abs(expected).max()


def test_a_form_that_is_wrong_for_one_code_is_not_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    multiplier, shift = arithmetic.quantize_multiplier(0.3)
    codes = np.arange(-128, 128)
    expected = arithmetic.scale_exactly(codes << 15, np.int64(multiplier), np.int64(shift), "away")
    fast = arithmetic.fast_double_rounding

    def wrong(*arguments):
        return lambda x: fast(*arguments)(x) + (x == 77 * 2**15)

    monkeypatch.setattr(arithmetic, "fast_double_rounding", wrong)
    scale, _ = arithmetic.scaled_codes(multiplier, shift, 15, "away", (-128, 127))
    np.testing.assert_array_equal(scale(tf.constant(codes, tf.float32)).numpy(), expected)


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


@pytest.mark.parametrize("kernels", KERNELS["int16"])
@pytest.mark.parametrize("declared", [0, 2, 4])  # none, INT32 and INT64
def test_a_dense_layer_of_int16_without_bias_adds_up_in_the_width_that_it_declares(kernels, declared, tmp_path):
    builder, random = Builder(), np.random.default_rng(declared)
    source, output = builder.tensor(np.int16, [1, 60], 0.0013), builder.tensor(np.int16, [1, 64], 0.009)
    scales = np.float32(2.0 ** random.uniform(-9, -7, 64))
    weights = builder.constant(random.integers(-127, 128, (64, 60)).astype(np.int8), scales)
    options = {"quantizedBiasType": declared}
    builder.operator("FULLY_CONNECTED", [source, weights, -1], [output], "FullyConnectedOptions", **options)
    path = builder.save(tmp_path / "dense.tflite", [source], [output])
    codes = random.integers(-32768, 32768, (1000, 60)).astype(np.int16)
    assert check_exactness(IntegerModel.from_file(path, kernels), path, codes) == 0


@pytest.mark.parametrize("kernels", KERNELS["int8"])
def test_outputs_of_the_one_place_of_an_image_are_those_of_classes(kernels: str, tmp_path: Path) -> None:
    """A network that ends in a convolution, and is not flattened."""
    builder, random = Builder(), np.random.default_rng(0)
    source, output = builder.tensor(np.int8, [1, 3, 3, 2], 0.1), builder.tensor(np.int8, [1, 1, 1, 4], 0.2)
    weights = builder.constant(random.integers(-127, 128, (4, 3, 3, 2)).astype(np.int8), 0.01)
    options = {"padding": 1, "strideH": 1, "strideW": 1, "dilationHFactor": 1, "dilationWFactor": 1}
    bias = builder.constant(np.zeros(4, np.int32), 0.001)
    builder.operator("CONV_2D", [source, weights, bias], [output], "Conv2DOptions", **options)
    path = builder.save(tmp_path / "conv.tflite", [source], [output])
    try_out(path, [kernels])
    model, x = IntegerModel.from_file(path, kernels), random.uniform(-1, 1, (5, 3, 3, 2)).astype(np.float32)
    assert model.scores(x).shape == model.logits(x).shape == TFLiteModel(path, kernels).predict(x).shape == (5, 4)
    assert check_exactness(model, path, x) == 0
    assert flat_shape(read_graph(path).outputs[0].shape[1:]) == (4,)
    assert flat_shape((2, 1, 4)) == (2, 1, 4)
