"""Fake quantization: TensorFlow's own operation as oracle, and nearness to the converter's int8 file."""

from __future__ import annotations

import numpy as np
import pytest

from qnn_robustness.common.errors import UserError


def test_levels_are_those_of_tensorflows_operation():
    import tensorflow as tf

    from qnn_robustness.quantization.fake_quantized import fake_quantize

    values = tf.constant(np.random.default_rng(0).normal(0, 2, 4000), tf.float32)
    for low, high in ((-3.0, 1.5), (0.0, 6.0), (-2.0, 0.0)):
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(values)
            ours = fake_quantize(values, tf.constant(low), tf.constant(high))
            theirs = tf.quantization.fake_quant_with_min_max_args(values, low, high)
        level = (high - low) / 255
        different = np.abs(ours - theirs) > level / 100
        assert different.mean() < 0.002, "only values in the middle between two levels may go either way"
        assert np.abs(ours - theirs).max() < 1.01 * level
        np.testing.assert_array_equal(tape.gradient(ours, values), tape.gradient(theirs, values))


def test_weights_have_symmetric_levels_of_their_own_for_each_channel():
    import tensorflow as tf

    from qnn_robustness.quantization.fake_quantized import fake_quantize_weights

    weights = np.random.default_rng(0).normal(size=(3, 3, 4, 6)).astype(np.float32) * 10.0 ** np.arange(6)
    weights = weights.astype(np.float32)
    weights[..., 5] = 0
    rounded = fake_quantize_weights(tf.constant(weights), (0, 1, 2)).numpy()
    scales = np.abs(weights).max((0, 1, 2)) / 127
    codes = rounded[..., :5] / scales[:5]
    np.testing.assert_allclose(codes, codes.round(), atol=1e-4)
    assert np.abs(codes).max((0, 1, 2)) == pytest.approx(127)
    assert (np.abs(rounded - weights) <= 0.5001 * scales).all()
    assert not rounded[..., 5].any()


def block():
    """A convolution, a depthwise one and a sum, each folded, then pooling; the output are the pooled activations."""
    import keras

    inputs = keras.Input((8, 8, 3))
    x = keras.layers.Conv2D(8, 3, padding="same", use_bias=False)(inputs)
    x = keras.layers.ReLU()(keras.layers.BatchNormalization()(x))
    y = keras.layers.DepthwiseConv2D(3, padding="same")(x)
    y = keras.layers.BatchNormalization()(y)
    x = keras.layers.ReLU()(keras.layers.Add()([x, y]))
    return keras.Model(inputs, keras.layers.Flatten()(keras.layers.MaxPooling2D()(x)))


def outputs(network, folder, samples=60, kernels="reference"):
    """Return outputs of the int8 file, of the imitation, and of float32, and the file's level."""
    from converted_networks import randomize

    from qnn_robustness.quantization.convert import convert
    from qnn_robustness.quantization.fake_quantized import FakeQuantized
    from qnn_robustness.quantization.tflite_model import TFLiteModel

    randomize(network)
    random = np.random.default_rng(0)
    calibration = random.random((40, *network.input_shape[1:]), dtype=np.float32)
    calibration[0, 0, 0], calibration[0, 0, 1] = 0, 1
    path = folder / "int8.tflite"
    path.write_bytes(convert(network, "int8", calibration))
    inputs = random.integers(0, 256, (samples, *network.input_shape[1:])).astype(np.float32) / np.float32(255)
    quantized = FakeQuantized(network)
    quantized.calibrate(calibration)
    model = TFLiteModel(path, kernels)
    imitated, plain = np.asarray(quantized(inputs)), np.asarray(network(inputs, training=False))
    return model.predict(inputs), imitated, plain, model.output_scale


def test_a_block_gives_the_codes_of_the_int8_file(tmp_path):
    deployed, imitated, plain, level = outputs(block(), tmp_path)
    assert np.abs(imitated - deployed).max() < 2.1 * level
    assert (np.abs(imitated - deployed) < level / 100).mean() > 0.95
    nearest = np.rint(plain / level) * level
    assert (np.abs(nearest - deployed) < level / 100).mean() < 0.8, "rounding the float32 outputs alone is not enough"


def convolved(x, filters=3, kernel=3, padding="same", **options):
    import keras

    return keras.layers.Conv2D(filters, kernel, padding=padding, **options)(x)


def dense_block(layers, x):
    """Everything concatenated has the levels of the last result, the input of the first convolution alone has not."""
    x = convolved(x, 2, activation="relu")
    x = layers.Concatenate()([x, convolved(x, 2)])
    return layers.Concatenate()([x, convolved(x, 2)])


def inception(layers, x):
    """Levels of what is concatenated go through pooling to what is pooled; those of sigmoid are fixed."""
    x = convolved(x, 2, activation="relu")
    pooled = layers.MaxPooling2D(3, 1, "same")(x), layers.AveragePooling2D(3, 1, "same")(x)
    return layers.Concatenate()([*pooled, convolved(x, 2), convolved(x, 2, activation="sigmoid")])


def gated(layers, x):
    """Squeeze and excitation, whose gate has one value a channel."""
    x = convolved(x, 6, activation="hard_swish")
    gate = convolved(layers.GlobalAveragePooling2D(keepdims=True)(x), 4, 1, activation="swish")
    return layers.Multiply()([x, convolved(gate, 6, 1, activation="hard_sigmoid")])


def preactivated(layers, x):
    """Batch normalisation that is not folded, as something else reads what it normalises."""
    x = convolved(x)
    return layers.Add()([x, convolved(layers.ReLU()(layers.BatchNormalization()(x)))])


def separable(layers, x):
    x = layers.SeparableConv2D(4, 3, strides=2, depth_multiplier=2, use_bias=False)(x)
    return layers.SeparableConv2D(5, 2, activation="relu")(layers.ReLU()(layers.BatchNormalization()(x)))


def rescaled(layers, x):
    """Into the kernels behind it, which are not padded, and apart for the pool; then into the kernel before it."""
    x = layers.Rescaling(2, -1)(x)
    x = layers.Concatenate()([convolved(x, padding="valid"), layers.MaxPooling2D(3, 1)(x)])
    return layers.Rescaling([2.0, 0.5, 1.0], [-1.0, 0.0, 0.5])(convolved(x))


def pooled_shortcut(layers, x):
    x = convolved(x, 4)
    return layers.Add()([layers.MaxPooling2D(3, 1, "same")(x), layers.Dropout(0.1)(convolved(x, 4))])


def nested(layers, x):
    """Networks as layers, one of which is called twice."""
    import keras

    inputs = keras.Input((8, 8, 4))
    inner = keras.Model(inputs, layers.Add()([inputs, convolved(inputs, 4, activation="relu")]))
    stem = keras.Sequential([keras.Input((8, 8, 3)), layers.Conv2D(4, 3, padding="same"), layers.BatchNormalization()])
    return inner(inner(stem(x)))


BLOCKS = [dense_block, inception, gated, preactivated, separable, rescaled, pooled_shortcut, nested]


@pytest.mark.parametrize("build", BLOCKS, ids=lambda build: build.__name__)
def test_blocks_give_the_codes_of_the_int8_file(build, tmp_path):
    import keras

    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, keras.layers.Flatten()(build(keras.layers, inputs)))
    check_codes(*outputs(network, tmp_path))


@pytest.mark.parametrize("function", ["sigmoid", "tanh", "swish", "hard_sigmoid", "hard_swish", "gelu"])
def test_activations_give_the_codes_of_the_int8_file(function, tmp_path):
    import keras

    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, keras.layers.Flatten()(convolved(convolved(inputs, 4, activation=function))))
    check_codes(*outputs(network, tmp_path))


def test_sums_in_the_middle_between_two_levels_are_no_farther_than_kernels_are_from_each_other(tmp_path):
    """Before a padded convolution scaling to [-1, 1] is two operators; the sums have half a step more or none."""
    import keras

    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, keras.layers.Flatten()(convolved(keras.layers.Rescaling(2, -1)(inputs))))
    reference, imitated, plain, _ = outputs(network, tmp_path)
    other = outputs(network, tmp_path, kernels="xnnpack")[0]
    for deployed in (reference, other):
        assert np.abs(imitated - deployed).mean() < np.abs(reference - other).mean()
        assert np.abs(imitated - deployed).mean() < np.abs(plain - deployed).mean()


def test_leaky_relu_is_nearer_to_the_int8_file_than_float32(tmp_path):
    """Its kernel rounds what is negative twice, to codes of twice or four times the number, and then to codes."""
    import keras

    inputs = keras.Input((8, 8, 3))
    network = keras.Model(inputs, keras.layers.Flatten()(convolved(convolved(inputs, 4, activation="leaky_relu"))))
    deployed, imitated, plain, level = outputs(network, tmp_path)
    assert np.abs(imitated - deployed).max() < 2.1 * level
    assert np.abs(imitated - deployed).mean() < np.abs(plain - deployed).mean() / 2


def check_codes(deployed, imitated, plain, level):
    """A code that is one off inside may be several off at the end: so no bound holds for each output."""
    assert np.abs(imitated - deployed).mean() < np.abs(plain - deployed).mean() / 5
    assert (np.abs(imitated - deployed) < level / 100).mean() > 0.95
    nearest = np.rint(plain / level) * level
    assert (np.abs(nearest - deployed) < level / 100).mean() < 0.9, "rounding the float32 outputs alone is not enough"


def test_the_logits_of_a_network_are_nearer_to_its_int8_file_than_those_of_float32(tmp_path):
    from qnn_robustness.models.resnet8 import build

    deployed, imitated, plain, _ = outputs(build((16, 16, 3), 10), tmp_path)
    near, far = (np.abs(logits - deployed).mean(axis=1) for logits in (imitated, plain))
    assert near.mean() < 0.75 * far.mean()


def test_a_rectifier_with_a_slope_below_zero_is_an_operator_of_its_own(tmp_path):
    """The converter folds what only cuts; the result of a convolution before any other function is rounded first."""
    import keras

    layers = keras.layers.Conv2D(5, 3), keras.layers.ReLU(negative_slope=0.1), keras.layers.Flatten()
    deployed, imitated, _, level = outputs(keras.Sequential([keras.Input((8, 6, 2)), *layers]), tmp_path)
    assert (np.abs(imitated - deployed) < level / 100).mean() > 0.95


def test_gradients_reach_inputs_and_every_weight():
    import tensorflow as tf
    from converted_networks import randomize

    from qnn_robustness.models.resnet8 import build
    from qnn_robustness.quantization.fake_quantized import FakeQuantized

    network = randomize(build((8, 8, 3), 10))
    samples = np.random.default_rng(0).random((8, 8, 8, 3), dtype=np.float32)
    quantized = FakeQuantized(network)
    quantized.calibrate(samples)
    inputs = tf.constant(samples)
    with tf.GradientTape(persistent=True) as tape:
        tape.watch(inputs)
        value = tf.reduce_sum(quantized(inputs)[:, 0])
        plain = tf.reduce_sum(network(inputs, training=False)[:, 0])
    weights = [variable.value for variable in network.trainable_variables]
    for gradient in tape.gradient(value, weights):
        assert np.isfinite(gradient).all()
        assert np.any(gradient)
    ours, exact = (np.ravel(tape.gradient(output, inputs)) for output in (value, plain))
    assert ours @ exact / np.linalg.norm(ours) / np.linalg.norm(exact) > 0.9


@pytest.mark.parametrize("build", [gated, preactivated, separable, nested], ids=lambda build: build.__name__)
def test_gradients_reach_every_weight_of_a_block(build):
    import keras
    import tensorflow as tf
    from converted_networks import randomize

    from qnn_robustness.quantization.fake_quantized import FakeQuantized

    inputs = keras.Input((8, 8, 3))
    network = randomize(keras.Model(inputs, keras.layers.Flatten()(build(keras.layers, inputs))))
    samples = np.random.default_rng(0).random((8, 8, 8, 3), dtype=np.float32)
    quantized = FakeQuantized(network)
    quantized.calibrate(samples)
    with tf.GradientTape() as tape:
        value = tf.reduce_sum(quantized(tf.constant(samples)) ** 2)
    for gradient in tape.gradient(value, [variable.value for variable in network.trainable_variables]):
        assert np.isfinite(gradient).all()
        assert np.any(gradient)


@pytest.mark.parametrize(
    ("kind", "options", "message"),
    [
        ("Conv2D", {"filters": 2, "kernel_size": 3, "activation": "selu"}, r": the activation selu has no .*; known"),
        ("UpSampling2D", {}, " has no fake quantization$"),
    ],
)
def test_a_layer_that_is_not_known_is_named(kind, options, message):
    import keras

    from qnn_robustness.quantization.fake_quantized import FakeQuantized

    inputs = keras.Input((4, 4, 1))
    hidden = getattr(keras.layers, kind)(**options, name="curved")(inputs)
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(hidden))
    with pytest.raises(UserError, match=rf"^layer 'curved' \({kind}\){message}"):
        FakeQuantized(keras.Model(inputs, outputs))


@pytest.mark.parametrize("function", ["selu", "softmax"])
def test_a_function_that_is_not_known_is_named_also_behind_a_convolution(function):
    import keras

    from qnn_robustness.quantization.fake_quantized import FakeQuantized

    inputs = keras.Input((4, 4, 1))
    hidden = keras.layers.Activation(function, name="curved")(keras.layers.Conv2D(2, 3)(inputs))
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(hidden))
    with pytest.raises(UserError, match=r"^layer 'curved' \(Activation\): the activation \w+ has no .*; known: "):
        FakeQuantized(keras.Model(inputs, outputs))


def test_a_sequential_network_from_a_file_is_what_it_was(tmp_path):
    """Loading calls its layers more than once; what they gave first is no part of the network."""
    import keras

    layers = keras.layers.Conv2D(4, 3), keras.layers.BatchNormalization(), keras.layers.ReLU(), keras.layers.Flatten()
    keras.Sequential([keras.Input((6, 6, 2)), *layers, keras.layers.Dense(3)]).save(tmp_path / "network.keras")
    deployed, imitated, _, level = outputs(keras.saving.load_model(tmp_path / "network.keras"), tmp_path)
    assert (np.abs(imitated - deployed) < level / 100).mean() > 0.95


def test_each_call_of_a_shared_layer_is_an_operation(tmp_path):
    import keras

    inputs, shared = keras.Input((6, 6, 2)), keras.layers.Conv2D(2, 3, padding="same", activation="relu")
    outer = keras.Model(inputs, keras.layers.Flatten()(shared(shared(inputs))))
    deployed, imitated, _, level = outputs(outer, tmp_path)
    assert (np.abs(imitated - deployed) < 1.1 * level).all()
    assert (np.abs(imitated - deployed) < level / 100).mean() > 0.95


def test_what_is_no_layer_is_named():
    import keras

    from qnn_robustness.quantization.fake_quantized import FakeQuantized

    inputs = keras.Input((4, 4, 1))
    hidden = inputs + keras.layers.Conv2D(1, 3, padding="same")(inputs)
    outputs = keras.layers.Dense(2)(keras.layers.Flatten()(hidden))
    with pytest.raises(UserError, match=r"^'add\w*' \(Add\) has no fake quantization; write it as a layer$"):
        FakeQuantized(keras.Model(inputs, outputs))
