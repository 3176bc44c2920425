"""Float32 .tflite networks are rebuilt in Keras as the same function."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import brightness_network
import keras
import numpy as np
import pytest
import tensorflow as tf
from converted_networks import NETWORKS, randomize
from tflite_builder import Builder

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import precision_of, read_graph
from qnn_robustness.quantization.importing.description import describe
from qnn_robustness.quantization.importing.float_tflite import rebuild
from qnn_robustness.quantization.importing.keras_file import load_keras_file
from qnn_robustness.quantization.tflite_model import TFLiteModel


def test_a_network_for_images_of_any_size_is_refused(tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.float32, [1, 1, 1, 3]), builder.tensor(np.float32, [1, 1, 1, 3])
    builder.operator("RELU", [source], [output])
    for signature in ([-1, 1, 1, 3], [-1, -1, -1, 3]):
        builder.graph.tensors[source].shapeSignature = signature
        path = builder.save(tmp_path / f"{-sum(signature)}.tflite", [source], [output])
    assert describe(tmp_path / "-4.tflite").shape == (1, 1, 3), "any number of images is what all take"
    with pytest.raises(UserError, match=r"takes inputs of any size \[-1, -1, -1, 3\]; convert it with a fixed"):
        describe(path)


def random_inputs(shape: tuple[int, ...]) -> np.ndarray:
    return np.random.default_rng(1).normal(size=(5, *shape)).astype(np.float32)


def test_what_does_not_come_back_is_named(tmp_path: Path) -> None:
    path = tmp_path / "float.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(NETWORKS["recurrent"]()).convert())
    with pytest.raises(
        UserError, match=r"float\.tflite: operator \d+ \(FILL\): is not supported; supported: ABS, .*, UNPACK; give"
    ):
        rebuild(path)


@pytest.mark.parametrize("name", sorted(set(NETWORKS) - {"recurrent"}))
def test_a_converted_network_comes_back(tmp_path: Path, name: str) -> None:
    network = randomize(NETWORKS[name]())
    path = tmp_path / "float.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    samples = random_inputs(network.input_shape[1:])
    expected = network(samples, training=False).numpy()
    np.testing.assert_allclose(rebuild(path)(samples), expected, atol=1e-4 * np.abs(expected).max())
    described = describe(path)
    assert (described.precision, described.shape) == ("float32", network.input_shape[1:])


def test_pixels_that_are_repeated_come_back(tmp_path: Path) -> None:
    """The converter leaves their number open."""
    image = keras.Input((4, 5, 3))
    value = keras.layers.Conv2D(4, 3)(keras.layers.UpSampling2D((2, 3))(image))
    network = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(value)))
    path = tmp_path / "float.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    samples = random_inputs(network.input_shape[1:])
    np.testing.assert_allclose(rebuild(path)(samples), network(samples), atol=1e-4)


@pytest.mark.parametrize(
    "curve", ["elu", "exponential", "gelu", lambda x: keras.activations.gelu(x, approximate=True), keras.ops.abs]
)
def test_a_function_of_single_values_comes_back(tmp_path: Path, curve: Any) -> None:
    image = keras.Input((4, 4, 3))
    value = keras.layers.Conv2D(5, 3, activation=curve if isinstance(curve, str) else None)(image)
    value = value if isinstance(curve, str) else curve(value)
    network = randomize(keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(value))))
    path = tmp_path / "float.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    samples = random_inputs(network.input_shape[1:])
    rebuilt = rebuild(path)
    rebuilt.save(tmp_path / "again.keras")
    for same in (rebuilt, load_keras_file(tmp_path / "again.keras")):
        np.testing.assert_allclose(same(samples), network(samples), rtol=1e-4, atol=1e-4)


def test_an_operator_that_is_not_rebuilt_is_named(tmp_path: Path) -> None:
    builder = Builder()
    source, output = (builder.tensor(np.float32, [1, *brightness_network.SHAPE]) for _ in range(2))
    flat, size = builder.tensor(np.float32, [1, 48]), builder.constant(np.array([-1, 48], np.int32))
    builder.operator("FLOOR", [source], [output])  # which has no gradient
    builder.operator("RESHAPE", [output, size], [flat], "ReshapeOptions", newShape=[-1, 48])
    path = builder.save(tmp_path / "float.tflite", [source], [flat])
    with pytest.raises(UserError, match=r"operator 0 \(FLOOR\): is not supported; .*; give the \.keras file instead"):
        rebuild(path)


def test_a_part_of_the_channels_is_not_taken_for_all(tmp_path: Path) -> None:
    image = keras.Input((4, 4, 6))
    network = keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(image[:, 1:, :, 2:])))
    path = tmp_path / "float.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    with pytest.raises(UserError, match=r"\(STRIDED_SLICE\): cuts the batch or the channels; give the \.keras file"):
        rebuild(path)


@pytest.mark.parametrize("first", [False, True])
@pytest.mark.parametrize("name", ["ADD", "MUL", "SUB"])
def test_constants_come_back(tmp_path: Path, name: str, first: bool) -> None:
    builder = Builder()
    source, output = (builder.tensor(np.float32, [1, 2, 2, 3]) for _ in range(2))
    flat, size = builder.tensor(np.float32, [1, 12]), builder.constant(np.array([-1, 12], np.int32))
    constant = np.array([0.5, -2, 3], np.float32)
    pair = [source, builder.constant(constant)]
    builder.operator(name, pair[::-1] if first else pair, [output], f"{name.title()}Options")
    builder.operator("RESHAPE", [output, size], [flat], "ReshapeOptions", newShape=[-1, 12])
    path = builder.save(tmp_path / "float.tflite", [source], [flat])
    x = random_inputs((2, 2, 3))
    a, b = (constant, x) if first else (x, constant)
    expected = {"ADD": a + b, "MUL": a * b, "SUB": a - b}[name]
    np.testing.assert_allclose(rebuild(path)(x), expected.reshape(-1, 12), rtol=1e-6)


def test_a_constant_for_each_value_comes_back(tmp_path: Path) -> None:
    builder = Builder()
    source, output = (builder.tensor(np.float32, [1, 2, 2, 3]) for _ in range(2))
    flat, size = builder.tensor(np.float32, [1, 12]), builder.constant(np.array([-1, 12], np.int32))
    constant = np.arange(12, dtype=np.float32).reshape(1, 2, 2, 3)
    builder.operator("MUL", [source, builder.constant(constant)], [output], "MulOptions")
    builder.operator("RESHAPE", [output, size], [flat], "ReshapeOptions", newShape=[-1, 12])
    path = builder.save(tmp_path / "float.tflite", [source], [flat])
    x = random_inputs((2, 2, 3))
    rebuild(path).save(tmp_path / "again.keras")
    again = load_keras_file(tmp_path / "again.keras")
    np.testing.assert_allclose(again(x), (x * constant).reshape(-1, 12), rtol=1e-6)


LAYERS = {
    "convolutions transposed": lambda: [
        keras.layers.Conv2DTranspose(4, 3, 2, padding="same", activation="relu"),
        keras.layers.Conv2DTranspose(5, (2, 4), (1, 3), padding="valid"),
        keras.layers.Conv2DTranspose(3, 2, 3, use_bias=False),
    ],
    "slopes of what is negative": lambda: [keras.layers.PReLU(shared_axes=[1, 2]), keras.layers.PReLU()],
    "cut above": lambda: [keras.layers.ReLU(max_value=2.0), keras.layers.ReLU(threshold=0.3)],
    "normalized": lambda: [keras.layers.UnitNormalization(), keras.layers.RMSNormalization()],
    "attention": lambda: [
        keras.layers.Reshape((16, 6)),
        Twice(keras.layers.MultiHeadAttention(2, 3)),
        Twice(keras.layers.Attention()),
    ],
    "functions": lambda: [
        keras.ops.square,
        keras.ops.sin,
        keras.ops.exp,
        keras.ops.log,
        keras.ops.cos,
        keras.ops.negative,
    ],
    "moved": lambda: [
        lambda x: keras.ops.flip(x, axis=2),
        lambda x: keras.ops.tile(x, (1, 2, 1, 1)),
        lambda x: keras.ops.take(x, np.array([1, 0, 1]), axis=3),
    ],
}


class Twice:
    """A layer that is given the same value twice."""

    def __init__(self, layer: keras.layers.Layer):
        self.layer = layer

    def __call__(self, value: Any) -> Any:
        return self.layer(value, value) if "Multi" in type(self.layer).__name__ else self.layer([value, value])


@pytest.mark.parametrize("name", LAYERS)
def test_layers_come_back(tmp_path: Path, name: str) -> None:
    value = image = keras.Input((4, 4, 3))
    value = keras.layers.Conv2D(6, 3, padding="same")(value)
    for layer in LAYERS[name]():
        value = layer(value)
    network = randomize(keras.Model(image, keras.layers.Dense(3)(keras.layers.Flatten()(value))))
    path = tmp_path / "float.tflite"
    path.write_bytes(tf.lite.TFLiteConverter.from_keras_model(network).convert())
    samples = random_inputs(network.input_shape[1:])
    rebuild(path).save(tmp_path / "again.keras")
    expected = TFLiteModel(path, "reference").run(samples)
    again = load_keras_file(tmp_path / "again.keras")
    np.testing.assert_allclose(again(samples), expected, atol=1e-4 * np.abs(expected).max())


def test_a_transposed_convolution_of_another_size_is_named(tmp_path: Path) -> None:
    builder = Builder()
    source, output = builder.tensor(np.float32, [1, 4, 4, 2]), builder.tensor(np.float32, [1, 10, 9, 3])
    weights = builder.constant(np.ones((3, 3, 3, 2), np.float32))
    inputs = [builder.shape_of_batch(source, [10, 9, 3]), weights, source]
    builder.operator("TRANSPOSE_CONV", inputs, [output], "TransposeConvOptions", padding=1, strideH=2, strideW=2)
    flat = builder.tensor(np.float32, [1, 270])
    builder.operator("RESHAPE", [output, builder.constant(np.array([-1, 270], np.int32))], [flat])
    path = builder.save(tmp_path / "float.tflite", [source], [flat])
    with pytest.raises(UserError, match=r"\(TRANSPOSE_CONV\): gives images of \(10, 9\), where its stride and window"):
        rebuild(path)


def test_damage_is_one_line(tmp_path: Path) -> None:
    (tmp_path / "float.tflite").write_bytes(b"\x1c\0\0\0TFL3" + bytes(40))
    with pytest.raises(UserError, match=r"float\.tflite: damaged|float\.tflite: has"):
        rebuild(tmp_path / "float.tflite")


@pytest.mark.parametrize("first", [False, True])
def test_integer_weights_are_refused(tmp_path: Path, first: bool) -> None:
    """Such a file computes with activations quantized on the fly: no float32 network is the same function."""
    builder = Builder()
    source, middle, output = (builder.tensor(np.float32, [1, size]) for size in (4, 4, 2))
    if not first:  # the converter leaves the weights of small layers as they are
        builder.operator("RELU", [source], [middle])
    weights = builder.constant(np.ones((2, 4), np.int8), 0.5)
    taken = source if first else middle
    builder.operator("FULLY_CONNECTED", [taken, weights, -1], [output], "FullyConnectedOptions")
    path = builder.save(tmp_path / "hybrid.tflite", [source], [output])
    for refused in (rebuild, lambda path: precision_of(read_graph(path))):
        with pytest.raises(UserError, match=r"has integer weights but computes in float32; quantize its activations"):
            refused(path)


def test_weights_in_float16_come_back(tmp_path: Path) -> None:
    network = randomize(NETWORKS["mobile"]())
    converter = tf.lite.TFLiteConverter.from_keras_model(network)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.target_spec.supported_types = [tf.float16]
    path = tmp_path / "float.tflite"
    path.write_bytes(converter.convert())
    assert {tensor.type for tensor in read_graph(path).tensors if tensor.data is not None} >= {"FLOAT16"}
    samples = random_inputs(network.input_shape[1:])
    expected = TFLiteModel(path, "reference").run(samples)
    np.testing.assert_allclose(rebuild(path)(samples), expected, atol=1e-5 * np.abs(expected).max())
    assert describe(path).precision == "float32"


@pytest.mark.parametrize("scale", [0.5, [0.5, 2.0]])
def test_integer_weights_that_are_turned_into_float32_come_back(tmp_path: Path, scale: float | list[float]) -> None:
    builder = Builder()
    source, output = builder.tensor(np.float32, [1, 4]), builder.tensor(np.float32, [1, 2])
    codes, weights = np.arange(-4, 4).astype(np.int8).reshape(2, 4), builder.tensor(np.float32, [2, 4])
    builder.operator("DEQUANTIZE", [builder.constant(codes, scale)], [weights])
    builder.operator("FULLY_CONNECTED", [source, weights, -1], [output], "FullyConnectedOptions")
    path = builder.save(tmp_path / "float.tflite", [source], [output])
    samples = random_inputs((4,))
    expected = samples @ (codes * np.reshape(scale, (-1, 1))).T
    np.testing.assert_allclose(rebuild(path)(samples), expected, rtol=1e-5, atol=1e-5)
