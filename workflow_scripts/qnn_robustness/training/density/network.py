"""The gated PixelCNN of `models.density.pixel_cnn` in TensorFlow, with a gradient."""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf

from qnn_robustness.models.density.logistic_mixture import LOWEST_LOG_SCALE, TOP, numbers_per_component
from qnn_robustness.models.density.pixel_cnn import CONTEXT, weight_shapes

INITIAL_LOG_SCALE = -1.5  # a standard deviation of 0.4 in [-1, 1]


class TrainablePixelCNN(keras.Model):
    """The density model with weights that are drawn anew; `arrays` are those that `PixelCNN` takes."""

    def __init__(self, channels: int, width: int, layers: int, mixtures: int):
        super().__init__()
        self.channels, self.depth, self.named = channels, layers, {}
        shapes = weight_shapes(channels, width, layers, mixtures)
        for name, shape in shapes.items():
            initial = "zeros" if name.endswith("bias") else "glorot_uniform"
            self.named[name] = self.add_weight(shape=shape, initializer=initial, name=name.replace("/", "_"))
        self.named["outputs/bias"].assign(_initial_outputs(channels, mixtures))
        self.built = True

    def arrays(self) -> dict[str, np.ndarray]:
        return {name: weight.numpy() for name, weight in self.named.items()}

    def call(self, images: tf.Tensor) -> tf.Tensor:
        """Return the outputs [B, H, W, ...] for images with whole values from 0 to 255, float32 [B, H, W, C]."""
        scaled = images * (2 / TOP) - 1
        inputs = tf.concat([scaled, tf.ones_like(scaled[..., :1])], axis=-1)
        vertical = self._convolved("above", inputs[:, :-1], (CONTEXT, 0), (CONTEXT, CONTEXT))
        horizontal = self._convolved("left", inputs[:, :, :-1], (0, 0), (CONTEXT, 0))
        for layer in range(self.depth):
            below = self._convolved(f"vertical_{layer}", vertical, (1, 0), (1, 1))
            vertical += _gated(below)
            from_left = self._convolved(f"horizontal_{layer}", horizontal, (0, 0), (1, 0))
            gated = _gated(from_left + self._convolved(f"link_{layer}", below))
            horizontal += self._convolved(f"residual_{layer}", gated)
        hidden = tf.nn.relu(self._convolved("hidden", tf.nn.relu(horizontal)))
        return self._convolved("outputs", hidden)

    def bits_per_dimension(self, images: tf.Tensor) -> tf.Tensor:
        """Return the negative log-likelihood [B] of each image in bits, for each of its values."""
        logarithms = _log_probabilities(self(images), images, self.channels)
        values = tf.cast(tf.reduce_prod(tf.shape(images)[1:]), tf.float32)
        return -tf.reduce_sum(logarithms, axis=(1, 2)) / (values * np.float32(np.log(2)))

    def _convolved(self, name: str, inputs: tf.Tensor, rows=(0, 0), columns=(0, 0)) -> tf.Tensor:
        """Return the convolution with a kernel after padding with zeros: before and behind the rows, the columns."""
        padded = tf.pad(inputs, ((0, 0), rows, columns, (0, 0))) if any(rows + columns) else inputs
        outputs = tf.nn.conv2d(padded, self.named[f"{name}/kernel"], 1, "VALID")
        bias = self.named.get(f"{name}/bias")
        return outputs if bias is None else outputs + bias


def _initial_outputs(channels: int, mixtures: int) -> np.ndarray:
    """Return a bias with which all components are equally likely, their centres spread over the range of values."""
    parts = np.zeros((numbers_per_component(channels), mixtures), np.float32)
    parts[1 : 1 + channels] = (np.arange(mixtures) * 2 + 1) / mixtures - 1
    parts[1 + channels : 1 + 2 * channels] = INITIAL_LOG_SCALE
    return parts.reshape(-1)


def _log_probabilities(outputs: tf.Tensor, images: tf.Tensor, channels: int) -> tf.Tensor:
    """Return the log-probability [B, H, W] of each pixel (see `models.density.logistic_mixture`)."""
    mixtures = outputs.shape[-1] // numbers_per_component(channels)
    parts = tf.reshape(outputs, tf.concat([tf.shape(images)[:3], (numbers_per_component(channels), mixtures)], 0))
    joint = tf.nn.log_softmax(parts[..., 0, :])
    coefficients = tf.unstack(tf.tanh(parts[..., 1 + 2 * channels :, :]), axis=-2)
    for channel in range(channels):
        centre = parts[..., 1 + channel, :]
        for other in range(channel):
            centre += coefficients.pop(0) * (images[..., other, None] * (2 / TOP) - 1)
        sharpness = tf.exp(-tf.maximum(parts[..., 1 + channels + channel, :], LOWEST_LOG_SCALE))
        value = images[..., channel, None]
        lower, upper = (((value + side) * (2 / TOP) - 1 - centre) * sharpness for side in (-0.5, 0.5))
        below, above = tf.math.log_sigmoid(upper), tf.math.log_sigmoid(-lower)
        inside = below + above + tf.math.log(-tf.math.expm1(-2 / TOP * sharpness))
        joint += tf.where(value == 0, below, tf.where(value == TOP, above, inside))
    return tf.reduce_logsumexp(joint, axis=-1)


def _gated(values: tf.Tensor) -> tf.Tensor:
    signal, gate = tf.split(values, 2, axis=-1)
    return tf.tanh(signal) * tf.sigmoid(gate)
