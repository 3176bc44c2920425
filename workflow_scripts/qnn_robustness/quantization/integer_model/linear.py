"""What layers with weights share, exact sums of products and then requantization; and FULLY_CONNECTED."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.estimators import Gate, rounded_and_clipped
from qnn_robustness.quantization.integer_model.layer import (
    EXACT_FLOAT32,
    EXACT_FLOAT64,
    Context,
    Layer,
    activation_limits,
    centered_limits,
)

_BYTE = 256.0
_INT32 = 2**31
_BIAS_INT32, _BIAS_INT64 = 2, 4  # codes of TensorType


class LinearLayer(Layer):
    """Weights [..., C] in `filter`, one multiplier for each of the C output channels."""

    # Axis of the output channels in the file's weights.
    channel_axis = 0
    int16_bias_types = ("INT32", "INT64")
    # Channels that the vectorised built-in kernel takes at a time; a scalar function rounds the last ones.
    vector = 1

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        context.expect(
            len(operator.inputs) in (2, 3) and operator.inputs[1] is not None and operator.inputs[1].data is not None,
            operator,
            "needs constant weights and an optional constant bias",
        )
        weights, bias = self._constants()
        if (operator.inputs[1].scales < np.finfo(np.float32).tiny).any():
            self.context = context.left_to_built_in()
        self.low, self.high = activation_limits(operator, self.context)
        has_bias = len(operator.inputs) == 3 and operator.inputs[2] is not None
        self.bias_type = operator.inputs[2].type if has_bias else self._type_without_bias()
        self.filter_values = self._arranged(weights)
        self.bias = bias
        self.real_multiplier = self._real_multipliers(len(bias))
        low, high = centered_limits(self.inputs[0])
        self.bound = np.abs(self.filter_values).reshape(-1, len(bias)).sum(0) * max(-low, high)
        self.sum = self._exact_sum()
        self.requantize = self._requantization()

    def _type_without_bias(self) -> str:
        """The type of the bias that kernels act as if they had."""
        declared = "INT64" if self.operator.options.get("quantizedBiasType") == _BIAS_INT64 else "INT32"
        return declared if declared in self.int16_bias_types else self.int16_bias_types[0]

    def _constants(self) -> tuple[np.ndarray, np.ndarray]:
        """Return the weights and the bias (zeros if absent), both int64."""
        operator, context = self.operator, self.context
        weights = operator.inputs[1]
        bias = operator.inputs[2] if len(operator.inputs) == 3 else None
        context.expect(
            weights.type == "INT8" and not weights.zero_points.any() and len(weights.scales) > 0,
            operator,
            f"weights of type {weights.type}; supported: symmetric INT8",
        )
        channels = weights.shape[self.channel_axis] if weights.shape else 0
        context.expect(
            len(weights.scales) == 1 or weights.axis == self.channel_axis,
            operator,
            "has weight scales along another axis than the output channels",
        )
        if bias is None:
            return weights.data.astype(np.int64), np.zeros(channels, np.int64)
        types = ("INT32",) if self.is_int8 else self.int16_bias_types
        context.expect(
            bias.type in types and bias.data is not None and bias.shape == (channels,),
            operator,
            f"bias of type {bias.type}, shape {bias.shape}; supported: {' or '.join(types)} for each channel",
        )
        declared = operator.options.get("quantizedBiasType", _BIAS_INT32)
        context.expect(
            self.is_int8 or bias.type == "INT64" or declared == _BIAS_INT32,
            operator,
            "has an INT32 bias that it does not declare; kernels would read it as INT64",
        )
        return weights.data.astype(np.int64), bias.data.astype(np.int64)

    def _real_multipliers(self, channels: int) -> np.ndarray:
        # `PopulateConvolutionQuantizationParams`: products and quotients of float32 scales in float64.
        scales = self.operator.inputs[1].scales.astype(np.float64)
        return np.broadcast_to(np.float64(self.inputs[0].scale) * scales / np.float64(self.output.scale), channels)

    # -- the sum -----------------------------------------------------------------------------------

    @abstractmethod
    def _arranged(self, weights: np.ndarray) -> np.ndarray:
        """The weights as TensorFlow's operator wants them."""

    @abstractmethod
    def linear(self, x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        """The linear map in the floating point type of `x`."""

    def _exact_sum(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """Return the exact linear map, in float32 where sums of this layer provably fit its 24 bits."""
        weights = arithmetic.variable(self.filter_values)
        if (self.bound < EXACT_FLOAT32).all():
            return lambda x: self.linear(x, tf.stop_gradient(weights))  # or their gradient would be taken, too
        fits_by_bytes = (
            self.bound / max(map(abs, centered_limits(self.inputs[0]))) * (_BYTE - 1) < EXACT_FLOAT32
        ).all()
        wide = None if fits_by_bytes and not self.is_int8 else arithmetic.variable(self.filter_values, np.float64)

        def exact(x: tf.Tensor) -> tf.Tensor:
            if wide is not None:
                return self.linear(tf.cast(x, tf.float64), wide)
            high = tf.floor(x * (1 / _BYTE)) * _BYTE  # a power of two: sums of its multiples have no more bits
            sums = (self.linear(half, weights) for half in (high, x - high))
            return tf.add(*(tf.cast(half, tf.float64) for half in sums))

        @tf.custom_gradient
        def with_float32_gradient(x: tf.Tensor):
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                # A linear map has the same derivative everywhere: take it at 0, in float32.
                with tf.GradientTape() as tape:
                    zero = tf.zeros_like(x)
                    tape.watch(zero)
                    product = self.linear(zero, weights)
                return tape.gradient(product, zero, tf.cast(upstream, tf.float32))

            return exact(x), gradient

        return with_float32_gradient

    # -- requantization ----------------------------------------------------------------------------

    def _requantization(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """Return accumulator (without bias) -> centered code before clipping."""
        if not self.is_int8 and self.bias_type == "INT64":
            return self._requantization_int64()
        multiplier, shift = arithmetic.quantize_multipliers(self.real_multiplier)
        total = self._largest
        self.context.expect(
            bool((total * 2.0 ** np.maximum(shift, 0) < _INT32).all()),
            self.operator,
            "accumulators may overflow 32 bits; this cannot be exact",
        )
        if self.is_int8 and self.context.kernels == "xnnpack":
            return self._requantization_xnnpack()
        head = self._channels_rounded_up() if self.low < 0 else len(self.bias)
        if head == len(self.bias):
            return self._fixed_point(multiplier, shift, self._rounding())
        up, away = (self._fixed_point(multiplier, shift, rounding) for rounding in ("up", "away"))
        in_head = np.arange(len(self.bias)) < head
        return lambda x: tf.where(in_head, up(x), away(x))

    @property
    def _largest(self) -> np.ndarray:
        """The bound of sums with the bias, float64 for each channel: in int64 a bias at its limit would wrap around."""
        return self.bound + np.abs(self.bias.astype(np.float64))

    def _fits_int32(self) -> bool:
        """Whether every scaled accumulator fits the 32 bits that kernels keep it in before clipping."""
        return bool((self._largest * self.real_multiplier < _INT32).all())

    def _fixed_point(self, multiplier: np.ndarray, shift: np.ndarray, rounding: str) -> Callable:
        # Proving 65,535 steps of each of 64 channels takes seconds and gigabytes.
        return arithmetic.fixed_point(
            multiplier, shift, self.bias, self.bound, rounding, self.low, self.high, prove=self.is_int8
        )

    def _rounding(self) -> str:
        return "away" if self.context.kernels == "reference" else "up"

    def _channels_rounded_up(self) -> int:
        """How many of the first channels follow `_rounding`; the others round half away from zero."""
        channels = len(self.bias)
        return channels if self.context.kernels == "reference" else channels // self.vector * self.vector

    def _requantization_xnnpack(self) -> Callable[[tf.Tensor], tf.Tensor]:
        # xnn_qs8_requantize_fp32: the int32 accumulator becomes float32, times the float32 quotient of
        # scales.
        scale = np.asarray(self.inputs[0].scale * self.operator.inputs[1].scales / self.output.scale, np.float32)
        scale = arithmetic.variable(np.broadcast_to(scale, self.bias.shape))
        if (self._largest < EXACT_FLOAT32).all():
            bias = arithmetic.variable(self.bias)
            return lambda x: tf.round((tf.cast(x, tf.float32) + bias) * scale)
        bias = arithmetic.variable(self.bias, np.float64)
        return lambda x: tf.round(tf.cast(tf.cast(x, tf.float64) + bias, tf.float32) * scale)

    def _requantization_int64(self) -> Callable[[tf.Tensor], tf.Tensor]:
        multiplier, shift = arithmetic.quantize_multipliers(self.real_multiplier)
        multiplier = arithmetic.reduced_multiplier(multiplier)
        largest = self._largest * multiplier
        self.context.expect(
            bool((largest < EXACT_FLOAT64 / 2).all()) and shift.max(initial=0) < 8 and self._fits_int32(),
            self.operator,
            "accumulators exceed 47 bits; this cannot be exact",
        )
        slope = multiplier * 2.0 ** (shift - 15)
        offset = self.bias * slope + 0.5  # exact, like every step here: multiples of a power of two below 2**53 of it
        return lambda x: tf.floor(tf.cast(x, tf.float64) * slope + offset)

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        slope = np.asarray(self.real_multiplier, np.float32)
        return rounded_and_clipped(self.sum(values[0]), self.requantize, slope, self.low, self.high, gate)


class FullyConnected(LinearLayer):
    """`FullyConnected` on the last axis, or on everything but the batch."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        context.expect(
            operator.options.get("weightsFormat", 0) == 0,
            operator,
            "has shuffled weights; convert without them",
        )

    def _arranged(self, weights: np.ndarray) -> np.ndarray:
        self.context.expect(weights.ndim == 2, self.operator, "needs weights of 2 dimensions")
        size = int(np.prod(self.inputs[0].shape[1:]))
        self.keep = bool(self.operator.options.get("keepNumDims", False)) and len(self.inputs[0].shape) > 2
        expected = self.inputs[0].shape[-1] if self.keep else size
        self.context.expect(
            weights.shape[1] == expected,
            self.operator,
            f"weights {weights.shape} do not fit an input of {expected}",
        )
        return weights.T

    def linear(self, x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        if self.keep:
            return tf.tensordot(x, weights, 1)
        return tf.matmul(tf.reshape(x, [-1, weights.shape[0]]), weights)

    @property
    def in_float64(self) -> bool:
        """Whether the kernel multiplies accumulators by the real multiplier itself."""
        return self.context.kernels == "reference" or (not self.is_int8 and self.bias_type == "INT64")

    def _real_multipliers(self, channels: int) -> np.ndarray:
        if self.in_float64 or len(self.operator.inputs[1].scales) > 1:
            return super()._real_multipliers(channels)
        # `GetQuantizedConvolutionMultipler` multiplies both scales in float32.
        product = np.float32(self.inputs[0].scale * self.operator.inputs[1].scale)
        return np.full(channels, np.float64(product) / np.float64(self.output.scale))

    def _rounding(self) -> str:
        return "up"

    def _requantization(self) -> Callable[[tf.Tensor], tf.Tensor]:
        if not self.in_float64:
            return super()._requantization()
        limit = EXACT_FLOAT64 if self.bias_type == "INT64" else _INT32
        self.context.expect(
            bool((self._largest < limit).all()) and self._fits_int32(),
            self.operator,
            "accumulators may overflow; this cannot be exact",
        )
        bias, slope = (arithmetic.variable(value, np.float64) for value in (self.bias, self.real_multiplier))
        return lambda x: arithmetic.half_away((tf.cast(x, tf.float64) + bias) * slope)
