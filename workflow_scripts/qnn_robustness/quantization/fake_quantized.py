"""A Keras network that computes as its int8 file would, in float32 and with gradients.

The converter folds batch normalisation into the weights before it, and ReLU into the operation before it; then it
rounds the weights of each output channel to 255 symmetric levels, and inputs and results of operations to 256 levels
between the smallest and the largest value seen in calibration. Here the same happens to float32 numbers: a value is
replaced by the level that stands for it (fake quantization, Jacob et al. 2018, arXiv 1712.05877, section 3).
Rounding has no useful derivative, so gradients pass as if it were not there (straight-through estimator, Bengio et al.
2013, arXiv 1308.3432), and are zero where a value lies beyond its range.

Biases are not rounded: the file holds them in 32 bits. Pooling and reshaping keep the levels of what they are given, as
in the file. What is left out is the rounding of multipliers and of sums inside the kernels: the result is near to
the int8 file, not equal to it. It is less near where convolutions are dilated: the file then adds the bias, and what is
left of batch normalisation, by operators of their own, which round once more. The exact network is
`quantization.integer_model`, which is made from a file and so cannot be trained.
"""

from __future__ import annotations

from collections import defaultdict
from dataclasses import dataclass

import keras
import numpy as np
import tensorflow as tf
from keras import layers

from qnn_robustness.common.calls import calls
from qnn_robustness.common.errors import UserError

LEVELS = 255  # steps between the lowest and the highest code of int8
LARGEST_WEIGHT = 127
BATCH = 250
WEIGHTED = (layers.Conv2D, layers.DepthwiseConv2D, layers.Dense)
RECTIFIERS = (layers.ReLU, layers.Activation)
ACTIVATIONS = (keras.activations.linear, keras.activations.relu, keras.activations.relu6)
# results are values of the input, or zero
PASSING = (layers.MaxPooling2D, layers.ZeroPadding2D, layers.Flatten, layers.Reshape, layers.Dropout)
KEEPING = (*PASSING, layers.AveragePooling2D)  # results have the levels of the input
KNOWN = (*WEIGHTED, *RECTIFIERS, *KEEPING, layers.Add, layers.GlobalAveragePooling2D)


@dataclass(frozen=True)
class _Operation:
    """A layer with what is folded into it; `sources` and `target` are places among the tensors of the network."""

    layer: keras.Layer
    normalisation: layers.BatchNormalization | None
    activation: keras.Layer | None
    sources: tuple[int, ...]
    target: int


class FakeQuantized:
    """The function of `network` (inputs in [0, 1]) after int8 quantization, of its current weights.

    Batch normalisation takes its moving statistics and dropout does nothing, as in inference. Call `calibrate`
    first, and again when the weights have changed much.

    Raises UserError for a network with a layer that is not known here.
    """

    def __init__(self, network: keras.Model):
        self.network = network
        self._places: dict[int, int] = {id(network.inputs[0]): 0}
        self._operations = self._plan()
        self._ranges = tf.Variable(self._zero_ranges(), trainable=False)

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return logits float32 [N, K] of inputs float32 [N, H, W, C]."""
        values = {0: fake_quantize(inputs, *tf.unstack(self._ranges[0]))}
        for operation in self._operations:
            result = _apply(operation, values, quantized=True)
            if not isinstance(operation.layer, PASSING):
                result = fake_quantize(result, *tf.unstack(self._ranges[self._levels_of(operation)]))
            values[operation.target] = result
        return values[self._places[id(self.network.outputs[0])]]

    def calibrate(self, samples: np.ndarray) -> None:
        """Take the ranges of all activations from `samples` (float32 [N, H, W, C] in [0, 1]) in float32."""
        seen = self._zero_ranges()
        for start in range(0, len(samples), BATCH):
            values = {0: tf.constant(samples[start : start + BATCH])}
            for operation in self._operations:
                result = values[operation.target] = _apply(operation, values, quantized=False)
                for place in (operation.target, *self._overwritten(operation)):
                    low, high = seen[place]
                    seen[place] = min(low, result.numpy().min()), max(high, result.numpy().max())
        self._ranges.assign(seen)

    def _overwritten(self, operation: _Operation) -> list[int]:
        """Return the operand, if any, whose range also covers the result.

        In calibration the interpreter writes a sum over the first operand that nothing else reads, and the
        converter then takes the sum for a value of this operand too.
        """
        if not isinstance(operation.layer, layers.Add):
            return []
        read = [source for other in self._operations for source in other.sources]
        return [source for source in operation.sources if read.count(source) == 1][:1]

    def _zero_ranges(self) -> np.ndarray:
        """Return the range of inputs and empty ones for all else; every range holds zero."""
        ranges = np.zeros((len(self._places), 2), np.float32)
        ranges[0] = 0, 1
        return ranges

    def _levels_of(self, operation: _Operation) -> int:
        """Return the place whose range gives the levels of a result."""
        while isinstance(operation.layer, KEEPING):
            origin = operation.sources[0]
            if origin == 0:
                return 0
            operation = next(other for other in self._operations if other.target == origin)
        return operation.target

    def _plan(self) -> list[_Operation]:
        made, followers = calls(self.network), defaultdict(list)
        for call in made:
            for tensor in call.inputs:
                followers[id(tensor)].append(call)
        folded: set[int] = set()

        def only_follower(tensor, kind):
            found = followers[id(tensor)]
            if len(found) != 1 or not isinstance(found[0].operation, kind) or not _folds(found[0].operation):
                return None
            folded.add(id(found[0]))
            return found[0]

        operations = []
        for call in made:
            if id(call) in folded:
                continue
            layer = call.operation
            _check_known(layer)
            tensor, normalisation, activation = call.output, None, None
            if isinstance(layer, WEIGHTED) and layer.activation is keras.activations.linear:
                normalisation = only_follower(tensor, layers.BatchNormalization)
                tensor = normalisation.output if normalisation else tensor
            if isinstance(layer, (*WEIGHTED, layers.Add)):
                activation = only_follower(tensor, RECTIFIERS)
                tensor = activation.output if activation else tensor
            sources = tuple(self._places[id(source)] for source in call.inputs)
            target = self._places.setdefault(id(tensor), len(self._places))
            follow = [follower.operation if follower else None for follower in (normalisation, activation)]
            operations.append(_Operation(layer, *follow, sources, target))
        return operations


def fake_quantize(values: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Return `values` rounded to 256 levels, one of them zero, that span `low` <= 0 to `high` >= 0."""
    scale = tf.maximum((high - low) / LEVELS, 1e-12)
    zero = tf.round(-low / scale)  # the code of zero, counted from the lowest
    lowest, highest = -zero * scale, (LEVELS - zero) * scale
    clipped = tf.clip_by_value(values, lowest, highest)
    return clipped + tf.stop_gradient(tf.round(clipped / scale) * scale - clipped)


def fake_quantize_weights(weights: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    """Return `weights` rounded to symmetric levels, with a scale of its own for each slice along `axes`."""
    largest = tf.reduce_max(tf.abs(weights), axes, keepdims=True)
    scale = tf.stop_gradient(tf.maximum(largest / LARGEST_WEIGHT, 1e-12))
    return weights + tf.stop_gradient(tf.round(weights / scale) * scale - weights)


def _check_known(operation: keras.Operation) -> None:
    name = f"'{operation.name}' ({type(operation).__name__})"
    if not isinstance(operation, layers.Layer):
        raise UserError(f"{name} has no fake quantization; write it as a layer")
    if not isinstance(operation, KNOWN):
        raise UserError(f"layer {name} has no fake quantization")
    function = getattr(operation, "activation", ACTIVATIONS[0])
    if function not in ACTIVATIONS:
        known = ", ".join(activation.__name__ for activation in ACTIVATIONS)
        found = getattr(function, "__name__", function)
        raise UserError(f"layer {name}: the activation {found} has no fake quantization; known: {known}")


def _folds(layer: keras.Layer) -> bool:
    """Return whether the converter folds a layer: batch normalisation, and a function that only cuts."""
    sloped = getattr(layer, "negative_slope", 0) or getattr(layer, "threshold", 0)
    return getattr(layer, "activation", ACTIVATIONS[0]) in ACTIVATIONS and not sloped


def _apply(operation: _Operation, values: dict[int, tf.Tensor], *, quantized: bool) -> tf.Tensor:
    """Return the result of an operation in float32, with rounded weights if `quantized`."""
    layer, arguments = operation.layer, [values[source] for source in operation.sources]
    if isinstance(layer, WEIGHTED):
        result = layer.activation(_linear(operation, arguments[0], quantized=quantized))
    elif len(arguments) > 1:
        result = layer(arguments)
    else:
        result = layer(arguments[0])
    return operation.activation(result) if operation.activation else result


def _linear(operation: _Operation, inputs: tf.Tensor, *, quantized: bool) -> tf.Tensor:
    """Return the convolution or product with the folded kernel, plus the folded bias."""
    layer = operation.layer
    gain, bias = _folding(operation)
    kernel = tf.convert_to_tensor(layer.kernel)
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    kernel *= tf.reshape(gain, kernel.shape[2:] if depthwise else (-1,))
    if quantized:
        kernel = fake_quantize_weights(kernel, (0, 1) if depthwise else tuple(range(len(kernel.shape) - 1)))
    if isinstance(layer, layers.Dense):
        return inputs @ kernel + bias
    convolve = keras.ops.depthwise_conv if depthwise else keras.ops.conv
    options = {"strides": layer.strides, "padding": layer.padding, "dilation_rate": layer.dilation_rate}
    return convolve(inputs, kernel, data_format=layer.data_format, **options) + bias


def _folding(operation: _Operation) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the factor and the bias, one value an output channel, that batch normalisation leaves."""
    layer, normalisation = operation.layer, operation.normalisation
    depthwise = isinstance(layer, layers.DepthwiseConv2D)
    channels = layer.kernel.shape[2] * layer.kernel.shape[3] if depthwise else layer.kernel.shape[-1]
    bias = tf.convert_to_tensor(layer.bias) if layer.use_bias else tf.zeros(channels)
    if normalisation is None:
        return tf.ones(channels), bias
    gain = tf.math.rsqrt(normalisation.moving_variance + normalisation.epsilon)
    gain *= normalisation.gamma if normalisation.scale else 1.0
    bias = (bias - normalisation.moving_mean) * gain
    return gain, bias + (normalisation.beta if normalisation.center else 0.0)
