"""Operators on two operands, value by value: what they share, and MAXIMUM, MINIMUM, MUL, PRELU and others."""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator, Tensor
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.estimators import Gate, rounded_and_clipped
from qnn_robustness.quantization.integer_model.layer import Context, Layer, activation_limits, centered_limits

_FINER = 7  # bits


class Pairs(Layer):
    """Two operands: activations, or one and a constant. The smaller one is repeated along the axes that it lacks."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.pair = self.operands(operator)
        context.expect(len(self.pair) == 2, operator, "needs two inputs")
        self.repeats = self.pair[0].shape != self.pair[1].shape
        batch = self.inputs[0].shape[:1]
        wide = any(len(t.shape) == len(self.inputs[0].shape) and t.shape[:1] not in (batch, (1,)) for t in self.pair)
        context.expect(not wide, operator, "has operands for batches of different sizes")
        self._constants = {
            tensor.index: arithmetic.variable(tensor.data.astype(np.float32) - np.float32(tensor.zero_point))
            for tensor in self.pair
            if tensor.data is not None
        }

    @staticmethod
    def operands(operator: Operator) -> tuple[Tensor | None, ...]:
        return operator.inputs[:2]

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        given = iter(values)
        a, b = (
            next(given) if tensor.data is None else tf.stop_gradient(self._constants[tensor.index])
            for tensor in self.pair
        )
        if self.repeats or len(self.inputs) == 1:
            shape = tf.broadcast_dynamic_shape(tf.shape(a), tf.shape(b))
            a, b = tf.broadcast_to(a, shape), tf.broadcast_to(b, shape)
        return self.combined(a, b, gate)

    @abstractmethod
    def combined(self, a: tf.Tensor, b: tf.Tensor, gate: Gate) -> tf.Tensor:
        """Return the centered output for centered operands of one shape."""


class Mul(Pairs):
    """`reference_integer_ops::Mul`, and XNNPACK's vmul."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        scales = [tensor.scale for tensor in self.pair]
        self.slope = np.float32(scales[0] * scales[1]) / self.output.scale
        if not 2.0**-16 <= self.slope < 2.0**8:
            self.context = context.left_to_built_in()
        self.low, self.high = activation_limits(operator, self.context)
        self.rounding = self._float() if self.context.kernels == "xnnpack" else self._fixed_point()

    def _float(self) -> Callable[[tf.Tensor], tf.Tensor]:
        slope = arithmetic.variable(self.slope)
        return lambda product: tf.round(product * slope)

    def _fixed_point(self) -> Callable[[tf.Tensor], tf.Tensor]:
        multiplier, shift = arithmetic.quantize_multiplier(float(self.slope))  # a product of float32, in float32
        largest = np.prod([max(map(abs, centered_limits(tensor))) for tensor in self.pair], dtype=np.float64)
        reason = "products may overflow 32 bits; this cannot be exact"
        self.context.expect(largest * 2.0 ** max(shift, 0) < 2**31, self.operator, reason)
        return lambda product: arithmetic.scale_split(tf.cast(product, tf.float64), multiplier, shift, "away")

    def combined(self, a: tf.Tensor, b: tf.Tensor, gate: Gate) -> tf.Tensor:
        if not self.is_int8:  # products of 32 bits
            a, b = tf.cast(a, tf.float64), tf.cast(b, tf.float64)
        return rounded_and_clipped(a * b, self.rounding, self.slope, self.low, self.high, gate)


class Maximum(Pairs):
    """`MaximumMinimumBroadcastSlow` of codes of one scale; the gradient goes to the operand that is chosen."""

    choice = staticmethod(tf.maximum)

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.expect_kept_codes()

    def combined(self, a: tf.Tensor, b: tf.Tensor, gate: Gate) -> tf.Tensor:
        return self.choice(a, b)


class Minimum(Maximum):
    """The smaller one, as MAXIMUM takes the larger."""

    choice = staticmethod(tf.minimum)


class SquaredDifference(Pairs):
    """`SquaredDifference`: both operands brought to a common scale, 7 bits finer, the square scaled away."""

    def __init__(self, operator: Operator, context: Context):
        kind = operator.outputs[0].type
        context.expect(kind == "INT8", operator, f"has no kernel for {kind}")
        super().__init__(operator, context)
        self.low, self.high = centered_limits(self.output)
        scales = [np.float64(tensor.scale) for tensor in self.pair]
        twice = 2 * max(scales)
        self.multipliers = [arithmetic.quantize_multiplier(scale / twice) for scale in scales]
        self.slope = twice**2 / (2.0 ** (2 * _FINER) * np.float64(self.output.scale))
        self.scaling = arithmetic.quantize_multiplier(self.slope)
        largest = max(map(abs, (edge for tensor in self.pair for edge in centered_limits(tensor)))) * 2**_FINER
        reason = "squares may overflow 32 bits; this cannot be exact"
        context.expect(largest**2 * 2.0 ** max(self.scaling[1], 0) < 2**31, operator, reason)

    def combined(self, a: tf.Tensor, b: tf.Tensor, gate: Gate) -> tf.Tensor:
        @tf.custom_gradient
        def difference(a: tf.Tensor, b: tf.Tensor):
            fine = [
                arithmetic.scale_split(tf.cast(x, tf.float64) * 2**_FINER, *multiplier, "away")
                for x, multiplier in zip((a, b), self.multipliers, strict=True)
            ]

            def gradient(upstream: tf.Tensor) -> list[tf.Tensor]:
                slopes = [multiplier * 2.0 ** (shift - 31 + _FINER) for multiplier, shift in self.multipliers]
                return [
                    tf.cast(upstream * sign * slope, tf.float32) for sign, slope in zip((1, -1), slopes, strict=True)
                ]

            return fine[0] - fine[1], gradient

        square = difference(a, b) ** 2
        return rounded_and_clipped(
            square, lambda x: arithmetic.scale_split(x, *self.scaling, "away"), self.slope, self.low, self.high, gate
        )


class Prelu(Pairs):
    """`reference_ops::Prelu`: negative codes times constant slopes, the others rescaled, each rounded away."""

    def __init__(self, operator: Operator, context: Context):
        kind = operator.outputs[0].type
        context.expect(kind == "INT8", operator, f"has no kernel for {kind}")
        super().__init__(operator, context)
        context.expect(self.pair[0] in self.inputs and len(self.inputs) == 1, operator, "needs constant slopes")
        source, alpha = self.pair
        self.low, self.high = centered_limits(self.output)
        # as the kernel has them: products and quotients of float32, in float32
        self.above = np.float32(source.scale / self.output.scale)
        self.below = np.float32(np.float32(source.scale * alpha.scale) / self.output.scale)
        largest = max(map(abs, centered_limits(source)))
        self.scaled_above = self._scaled(self.above, largest)
        self.scaled_below = self._scaled(self.below, largest * max(map(abs, centered_limits(alpha))))

    def _scaled(self, real: np.float32, largest: int) -> Callable[[tf.Tensor], tf.Tensor]:
        multiplier, shift = arithmetic.quantize_multiplier(float(real))
        reason = "products may overflow 32 bits; this cannot be exact"
        self.context.expect(largest * 2.0 ** max(shift, 0) < 2**31, self.operator, reason)
        return lambda x: arithmetic.scale_split(tf.cast(x, tf.float64), multiplier, shift, "away")

    def combined(self, a: tf.Tensor, b: tf.Tensor, gate: Gate) -> tf.Tensor:
        def rounding(x: tf.Tensor) -> tf.Tensor:
            return tf.where(x >= 0, self.scaled_above(x), self.scaled_below(x * b))

        slope = tf.stop_gradient(tf.where(a >= 0, self.above, b * self.below))
        return rounded_and_clipped(a, rounding, slope, self.low, self.high, gate)
