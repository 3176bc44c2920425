"""Small Keras networks converted by TensorFlow's converter, for tests of the integer model."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import keras
import numpy as np
import tensorflow as tf

layers = keras.layers


def residual(size: int = 12, classes: int = 10, width: int = 8) -> keras.Model:
    """Residual blocks, a strided shortcut, average pooling, Flatten and softmax."""
    x = source = layers.Input((size, size, 3))
    x = _conv(x, width, 3)
    for filters, stride in ((width, 1), (2 * width, 2)):
        y = _conv(x, filters, 3, stride)
        y = _conv(y, filters, 3, activation=None)
        if stride != 1:
            x = layers.Conv2D(filters, 1, stride, "same")(x)
        x = layers.ReLU()(layers.add([x, y]))
    x = layers.AveragePooling2D(x.shape[1])(x)
    return keras.Model(source, layers.Dense(classes, activation="softmax")(layers.Flatten()(x)))


def mobile(size: int = 13, classes: int = 4, width: int = 8) -> keras.Model:
    """Depthwise separable blocks with ReLU6, zero padding, MEAN and logits without softmax."""
    x = source = layers.Input((size, size, 3))
    x = _conv(x, width, 3, 2, "relu6")
    for filters, stride in ((2 * width, 1), (2 * width, 2), (3 * width, 1)):
        if stride == 2:
            x = layers.ZeroPadding2D(((0, 1), (0, 1)))(x)
        x = layers.DepthwiseConv2D(3, stride, "valid" if stride == 2 else "same", use_bias=False)(x)
        x = layers.ReLU(6.0)(layers.BatchNormalization()(x))
        x = _conv(x, filters, 1, 1, "relu6")
    return keras.Model(source, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


def pooled(size: int = 11, classes: int = 5, width: int = 6) -> keras.Model:
    """Overlapping max and average pools with padding, a depth multiplier, unequal strides and Flatten."""
    x = source = layers.Input((size, size, 1))
    x = layers.Conv2D(width, (3, 5), (1, 2), "same", activation="relu")(x)
    x = layers.MaxPooling2D(3, 2, "same")(x)
    x = layers.DepthwiseConv2D((2, 3), 1, "valid", depth_multiplier=2)(x)
    x = layers.AveragePooling2D((3, 2), 1, "same")(x)
    return keras.Model(source, layers.Dense(classes, activation="softmax")(layers.Flatten()(x)))


def various(size: int = 12, classes: int = 4, width: int = 8) -> keras.Model:
    """Scaling inside, normalisation before ReLU, dense and gated blocks, several activations, and global maxima."""
    x = source = layers.Input((size, size, 3))
    x = layers.Normalization(mean=[0.4, 0.5, 0.6], variance=[0.04, 0.05, 0.06])(x)
    x = layers.Rescaling(0.5, 0.1)(x)
    x = layers.Conv2D(width, 3, padding="same")(x)
    y = layers.Conv2D(width, 3, padding="same")(layers.ReLU()(layers.BatchNormalization()(x)))
    x = layers.Concatenate()([x, layers.LeakyReLU(negative_slope=0.1)(y)])
    gate = layers.Conv2D(2 * width, 1, activation="sigmoid")(layers.GlobalAveragePooling2D(keepdims=True)(x))
    x = layers.Multiply()([x, gate])
    x = layers.Subtract()([layers.ReLU(6.0)(x), layers.Activation("tanh")(x)])
    return keras.Model(source, layers.Dense(classes, activation="softmax")(layers.GlobalMaxPooling2D()(x)))


def rearranged(size: int = 12, classes: int = 4, width: int = 8) -> keras.Model:
    """Groups, shuffled and split channels, cropped and resized images, and the larger and the smaller of two values."""
    x = source = layers.Input((size, size, 3))
    x = layers.Conv2D(width, 3, padding="same", groups=2, activation="relu")(_conv(x, width, 3))
    x = layers.Permute((1, 2, 4, 3))(layers.Reshape((size, size, 2, width // 2))(x))
    kept, changed = keras.ops.split(layers.Reshape((size, size, width))(x), 2, axis=-1)
    x = layers.Concatenate()([kept, layers.Conv2D(width // 2, 3, padding="same")(changed)])
    y = layers.Resizing(size, size)(layers.Cropping2D(((1, 2), (0, 3)))(x))
    z = layers.Resizing(size, size, interpolation="nearest")(layers.AveragePooling2D(2)(x))
    x = layers.Maximum()([layers.Minimum()([y, z]), keras.ops.abs(x)])
    return keras.Model(source, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


def spread(size: int = 12, classes: int = 4, width: int = 8) -> keras.Model:
    """Dilated convolutions of images and rows, dense layers on the last axis, a softmax as a gate, and cut values."""
    x = source = layers.Input((size, size, 3))
    x = layers.Conv2D(width, 3, dilation_rate=2, activation="relu")(x)
    x = layers.Dense(width)(layers.Dense(2 * width, activation="relu")(x))
    x = keras.ops.clip(layers.Conv2D(width, 3, padding="same")(x), -1, 1)
    x = layers.Multiply()([x, layers.Softmax()(layers.Conv2D(width, 1)(x))])
    x = layers.Conv1D(width, 3, dilation_rate=2, padding="causal", activation="relu")(keras.ops.min(x, axis=1))
    return keras.Model(source, layers.Dense(classes)(layers.GlobalAveragePooling1D()(x)))


def normalized(size: int = 12, classes: int = 4, width: int = 8) -> keras.Model:
    """Normalisation of each sample by itself, slopes of what is negative, and functions that are spelled out."""
    x = source = layers.Input((size, size, 3))
    x = layers.PReLU(shared_axes=[1, 2])(layers.LayerNormalization()(layers.Conv2D(width, 3)(x)))
    x = layers.PReLU()(layers.GroupNormalization(2)(layers.Conv2D(width, 3, 2)(x)))
    x = layers.Activation("selu")(layers.Conv2D(width, 1)(layers.Activation("softsign")(x)))
    return keras.Model(source, layers.Dense(classes)(layers.GlobalAveragePooling2D()(x)))


def recurrent(size: int = 6, classes: int = 4, width: int = 4) -> keras.Model:
    """Rows read as steps in both directions by a layer that is unrolled, and what it gives by another."""
    x = source = layers.Input((size, size, 3))
    x = layers.Reshape((size, size * width))(layers.Conv2D(width, 3, padding="same", activation="relu")(x))
    x = layers.Bidirectional(layers.SimpleRNN(width, unroll=True, return_sequences=True))(x)
    return keras.Model(source, layers.Dense(classes)(layers.LSTM(width, unroll=True)(x)))


def _conv(x: object, filters: int, kernel: int, stride: int = 1, activation: str | None = "relu") -> object:
    x = layers.Conv2D(filters, kernel, stride, "same", use_bias=False)(x)
    x = layers.BatchNormalization()(x)
    return layers.Activation(activation)(x) if activation else x


NETWORKS: dict[str, Callable[..., keras.Model]] = {
    "residual": residual,
    "mobile": mobile,
    "pooled": pooled,
    "various": various,
    "rearranged": rearranged,
    "spread": spread,
    "normalized": normalized,
    "recurrent": recurrent,
}


def randomize(model: keras.Model) -> keras.Model:
    """Give every weight a random value that keeps activations alive; return the model."""
    random = np.random.default_rng(0)
    values = []
    for variable in model.weights:
        shape = variable.shape
        if "variance" in variable.name:
            values.append(random.uniform(0.5, 2, shape))
        elif len(shape) == 1:
            values.append(random.normal("gamma" in variable.name, 0.2, shape))
        else:
            terms = np.prod(shape[:2] if len(shape) == 4 and shape[3] < 3 else shape[:-1])
            values.append(random.normal(0, np.sqrt(2 / terms), shape))
    model.set_weights(values)
    return model


def convert(
    model: keras.Model, path: str | Path, precision: str, bias: type | None = None, float_ends: bool = False
) -> str:
    """Convert to int8 or int16 with random calibration inputs in [0, 1], save, and return the path."""
    random = np.random.default_rng(0)
    shape = model.input_shape[1:]
    converter = tf.lite.TFLiteConverter.from_keras_model(model)
    converter.optimizations = [tf.lite.Optimize.DEFAULT]
    converter.representative_dataset = lambda: (
        [random.uniform(0, 1, (1, *shape)).astype(np.float32)] for _ in range(20)
    )
    if precision == "int8":
        converter.target_spec.supported_ops = [tf.lite.OpsSet.TFLITE_BUILTINS_INT8]
    else:
        converter.target_spec.supported_ops = [
            tf.lite.OpsSet.EXPERIMENTAL_TFLITE_BUILTINS_ACTIVATIONS_INT16_WEIGHTS_INT8
        ]
        if bias is not None:
            converter._experimental_full_integer_quantization_bias_type = tf.as_dtype(bias)
    if not float_ends:
        converter.inference_input_type = converter.inference_output_type = tf.as_dtype(precision)
    Path(path).write_bytes(converter.convert())
    return str(path)


def unsigned(classes: int = 3, size: int = 8) -> bytes:
    """Return a network that computes in UINT8, as converters did before INT8, of the converter of TensorFlow 1."""
    v1, fake_quant = tf.compat.v1, tf.quantization.fake_quant_with_min_max_args
    rng = np.random.default_rng(0)
    with tf.Graph().as_default(), v1.Session() as session:
        source = v1.placeholder(tf.float32, [1, size, size, 3])
        kernels = fake_quant(rng.normal(0, 0.2, (3, 3, 3, 4)).astype(np.float32), -1, 1, narrow_range=True)
        x = tf.nn.relu6(tf.nn.conv2d(fake_quant(source, 0, 1), kernels, 2, "SAME"))
        x = tf.reshape(fake_quant(x, 0, 6), [1, size * size])
        weights = fake_quant(rng.normal(0, 0.2, (size * size, classes)).astype(np.float32), -1, 1, narrow_range=True)
        output = tf.nn.softmax(fake_quant(tf.matmul(x, weights), -10, 10))
        converter = v1.lite.TFLiteConverter.from_session(session, [source], [output])
        converter.inference_type, converter.quantized_input_stats = tf.uint8, {source.op.name: (0, 255)}
        return converter.convert()
