"""A Keras network that computes as its int8 file would, in float32 and with gradients.

Layers become operators as `quantization.folding` tells. The converter rounds the weights of each output channel to 255
symmetric levels, and inputs and results of operators to 256 levels between the smallest and the largest value seen in
calibration; those of sigmoid and tanh are the same in all files. Here the same happens to float32 numbers: a value is
replaced by the level that stands for it (fake quantization, Jacob et al. 2018, arXiv 1712.05877, section 3).
Rounding has no useful derivative, so gradients pass as if it were not there (straight-through estimator, Bengio et al.
2013, arXiv 1308.3432), and are zero where a value lies beyond its range.

Biases are not rounded: the file holds them in 32 bits. Pooling and reshaping keep the levels of what they are given,
and all that is concatenated has the same levels, as in the file. What is left out is the rounding of multipliers and of
sums inside the kernels: the result is near to the int8 file, not equal to it. It is less near
- where convolutions are dilated: the file then adds the bias, and what is left of batch normalisation, by operators of
  their own, which round once more; so it does for a hard sigmoid that is not behind a convolution or product;
- behind sums and products of more than two, which the file writes as several operators, and behind global averages;
- behind leaky ReLU, and where a sigmoid or tanh is concatenated: their kernels round twice, so that codes are one off;
- behind a rescaling to [-1, 1] with a padded convolution: half of its sums lie in the middle between two levels, where
  kernels differ from each other as well.
The exact network is `quantization.integer_model`, which is made from a file and so cannot be trained.
"""

from __future__ import annotations

import keras
import numpy as np
import tensorflow as tf
from keras import activations, layers

from qnn_robustness.quantization.folding import (
    ELEMENTWISE,
    PASSING,
    Linear,
    Operation,
    Plan,
    WithConstant,
    factor_and_offset,
)

LEVELS = 255  # steps between the lowest and the highest code of int8
LOWEST_CODE = -128
LARGEST_WEIGHT = 127
BATCH = 250
KEEPING = (*PASSING, layers.AveragePooling2D)  # results have the levels of the input
FIXED = {activations.sigmoid: (0.0, 255 / 256), activations.tanh: (-1.0, 127 / 128)}  # ranges of the operators


class FakeQuantized:
    """The function of `network` (inputs in [0, 1]) after int8 quantization, of its current weights.

    Batch normalisation takes its moving statistics and dropout does nothing, as in inference. Call `calibrate`
    first, and again when the weights have changed much.

    Raises UserError for a network with a layer that is not known here.
    """

    def __init__(self, network: keras.Model):
        self.network = network
        self._plan = Plan(network)
        operations = self._plan.operations
        self._fixed = {each.target: FIXED[each.function] for each in operations if _is_fixed(each)}
        self._kept = {each.target for each in operations if isinstance(each.function, KEEPING)}
        self._groups = self._alike()
        self._ranges = tf.Variable(self._zero_ranges(), trainable=False)

    def __call__(self, inputs: tf.Tensor) -> tf.Tensor:
        """Return logits float32 [N, K] of inputs float32 [N, H, W, C]."""
        values = {0: fake_quantize(inputs, *tf.unstack(self._ranges[0]))}
        for operation in self._plan.operations:
            result = _apply(operation, values, quantized=True)
            if not isinstance(operation.function, PASSING):
                result = fake_quantize(result, *tf.unstack(self._ranges[operation.target]))
            values[operation.target] = result
        return values[self._plan.result]

    def calibrate(self, samples: np.ndarray) -> None:
        """Take the ranges of all activations from `samples` (float32 [N, H, W, C] in [0, 1]) in float32."""
        seen = self._zero_ranges()
        for start in range(0, len(samples), BATCH):
            values = {0: tf.constant(samples[start : start + BATCH])}
            for operation in self._plan.operations:
                result = values[operation.target] = _apply(operation, values, quantized=False)
                for place in {operation.target, *self._overwritten(operation, values)} - self._kept:
                    low, high = seen[place]
                    seen[place] = min(low, result.numpy().min()), max(high, result.numpy().max())
        for group in self._groups:
            fixed = [self._fixed[place] for place in group if place in self._fixed]
            seen[group] = fixed[0] if fixed else (seen[group, 0].min(), seen[group, 1].max())
        self._ranges.assign(seen)

    def _overwritten(self, operation: Operation, values: dict[int, tf.Tensor]) -> list[int]:
        """Return the operand, if any, whose range also covers the result.

        In calibration the interpreter writes a sum or a product over the first operand of its shape that nothing else
        reads (not the input of the network), and the converter then takes the result for a value of this operand too.
        """
        if not isinstance(operation.function, (WithConstant, *ELEMENTWISE)):
            return []
        read = [source for other in self._plan.operations for source in other.sources]
        shape = values[operation.target].shape
        free = [source for source in operation.sources if source and values[source].shape == shape]
        return [source for source in free if read.count(source) == 1][:1]

    def _zero_ranges(self) -> np.ndarray:
        """Return the range of inputs and empty ones for all else; every range holds zero."""
        ranges = np.zeros((self._plan.count, 2), np.float32)
        ranges[0] = 0, 1
        return ranges

    def _alike(self) -> list[list[int]]:
        """Return the places in groups of the same levels.

        Concatenation takes a sigmoid or tanh, whose levels are fixed, to its own levels.
        """
        groups = {place: [place] for place in range(self._plan.count)}
        for operation in self._plan.operations:
            joined = operation.sources if operation.target in self._kept else ()
            if isinstance(operation.function, layers.Concatenate):
                joined = [place for place in operation.sources if not self._fixed.keys() & set(groups[place])]
            together = sorted({place for member in (operation.target, *joined) for place in groups[member]})
            groups.update(dict.fromkeys(together, together))
        return list({id(group): group for group in groups.values()}.values())


def fake_quantize(values: tf.Tensor, low: tf.Tensor, high: tf.Tensor) -> tf.Tensor:
    """Return `values` rounded to 256 levels, one of them zero, that span `low` <= 0 to `high` >= 0."""
    span = tf.maximum(high - low, 1e-10)
    scale = span / LEVELS
    code = -low * LEVELS / span + LOWEST_CODE  # of zero; where low is -high it lies in the middle between two,
    zero = tf.sign(code) * tf.floor(tf.abs(code) + 0.5) - LOWEST_CODE  # and the converter takes the one away from 0
    lowest, highest = -zero * scale, (LEVELS - zero) * scale
    clipped = tf.clip_by_value(values, lowest, highest)
    return clipped + tf.stop_gradient(tf.round(clipped / scale) * scale - clipped)


def fake_quantize_weights(weights: tf.Tensor, axes: tuple[int, ...]) -> tf.Tensor:
    """Return `weights` rounded to symmetric levels, with a scale of its own for each slice along `axes`."""
    largest = tf.reduce_max(tf.abs(weights), axes, keepdims=True)
    scale = tf.stop_gradient(tf.maximum(largest / LARGEST_WEIGHT, 1e-12))
    return weights + tf.stop_gradient(tf.round(weights / scale) * scale - weights)


def fake_quantize_constant(values: tf.Tensor) -> tf.Tensor:
    """Return constants rounded to 256 levels between the smallest and the largest of them, or zero."""
    low, high = tf.minimum(tf.reduce_min(values), 0), tf.maximum(tf.reduce_max(values), 0)
    return values + tf.stop_gradient(fake_quantize(values, low, high) - values)


def _is_fixed(operation: Operation) -> bool:
    return any(operation.function is function for function in FIXED)


def _apply(operation: Operation, values: dict[int, tf.Tensor], *, quantized: bool) -> tf.Tensor:
    """Return the result of an operation in float32, with rounded weights and constants if `quantized`."""
    function, arguments = operation.function, [values[source] for source in operation.sources]
    if isinstance(function, Linear):
        result = _linear(operation, arguments[0], quantized=quantized)
    elif isinstance(function, WithConstant):
        constant = function.constant()
        result = function(arguments[0], fake_quantize_constant(constant) if quantized else constant)
    elif function is activations.silu and quantized:  # two operators
        gate = fake_quantize(tf.sigmoid(arguments[0]), *map(tf.constant, FIXED[activations.sigmoid]))
        result = arguments[0] * gate
    else:
        result = function(arguments if len(arguments) > 1 else arguments[0])
    return operation.activation(result) if operation.activation else result


def _linear(operation: Operation, inputs: tf.Tensor, *, quantized: bool) -> tf.Tensor:
    """Return the convolution or product with the folded kernel, plus the folded bias."""
    linear = operation.function
    gain, bias = _folding(operation)
    kernel = tf.convert_to_tensor(linear.kernel)
    kernel *= tf.reshape(gain, kernel.shape[2:] if linear.depthwise else (-1,))
    if operation.rescaling:
        factor, offset = factor_and_offset(operation.rescaling)
        bias += tf.reshape(tf.reduce_sum(kernel, linear.axes), (-1,)) * offset
        kernel *= factor
    if quantized:
        kernel = fake_quantize_weights(kernel, linear.axes)
    return linear(inputs, kernel) + bias


def _folding(operation: Operation) -> tuple[tf.Tensor, tf.Tensor]:
    """Return the factor and the bias, one value an output channel, that a scaling behind the kernel leaves."""
    linear = operation.function
    channels = int(np.prod(linear.kernel.shape[len(linear.axes) :]))
    bias = tf.zeros(channels) if linear.bias is None else tf.convert_to_tensor(linear.bias)
    factor, offset = factor_and_offset(operation.scaling) if operation.scaling else (1.0, 0.0)
    return factor * tf.ones(channels), bias * factor + offset
