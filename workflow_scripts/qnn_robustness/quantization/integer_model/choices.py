"""Quotients and comparisons of two int8 operands, and the choice that a comparison makes.

Truth values travel as 0 and 1, without a gradient.
"""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator, Tensor
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.answers import answers, every_code
from qnn_robustness.quantization.integer_model.estimators import Gate
from qnn_robustness.quantization.integer_model.layer import Context, Layer, activation_limits, centered_limits
from qnn_robustness.quantization.integer_model.pairs import Pairs


class PairTable(Pairs):
    """An operator on two int8 operands as a table: the interpreter is asked for each pair of codes."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        context.expect(self.is_int8, operator, f"has no kernel for {self.pair[0].type}")
        context.expect(self.pair[0] is not self.pair[1], operator, "has one operand twice")
        first, second = (every_code(tensor) for tensor in self.pair)
        self.count = len(second)
        pairs = np.repeat(first, len(second)), np.tile(self.asked(second), len(first))
        given = dict(zip(self.pair, pairs, strict=True))
        self.table = arithmetic.variable(self.centered(answers(context, [operator], given)))
        self.firsts = [centered_limits(tensor)[0] for tensor in self.pair]

    def asked(self, second: np.ndarray) -> np.ndarray:
        """Return the codes of the second operand that the interpreter is asked for in place of all codes."""
        return second

    def centered(self, outputs: np.ndarray) -> np.ndarray:
        """Return what the table holds for the interpreter's outputs."""
        return outputs.astype(np.float32) - self.output.zero_point

    def found(self, a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
        """Return the entries for centered codes, without a gradient."""
        rows, columns = (tf.cast(x, tf.int32) - first for x, first in zip((a, b), self.firsts, strict=True))
        return tf.stop_gradient(tf.gather(self.table, rows * self.count + columns))


class Div(PairTable):
    """`reference_ops::Div`: a quotient by fixed-point reciprocals; its gradient is that of real numbers."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.low, self.high = activation_limits(operator, context)
        self.slope = np.float32(self.pair[0].scale / (self.pair[1].scale * self.output.scale))

    def asked(self, second: np.ndarray) -> np.ndarray:
        zero = self.pair[1].zero_point  # at which the kernel stops: no network that runs divides by it
        return np.where(second == zero, second.dtype.type(zero + 1 if zero < 127 else zero - 1), second)

    def combined(self, a: tf.Tensor, b: tf.Tensor, gate: Gate) -> tf.Tensor:
        @tf.custom_gradient
        def apply(a: tf.Tensor, b: tf.Tensor):
            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                quotient = tf.math.divide_no_nan(a, b) * self.slope
                passed = upstream * gate(tf.round(quotient), self.low, self.high)
                return passed * tf.math.divide_no_nan(self.slope, b), -passed * tf.math.divide_no_nan(quotient, b)

            return self.found(a, b), gradient

        return apply(a, b)


class Comparison(PairTable):
    """`ComparisonQuantized`: both operands brought to a common scale, and compared."""

    def coded(self) -> list[Tensor]:
        return list(self.operands(self.operator))

    def centered(self, outputs: np.ndarray) -> np.ndarray:
        return outputs.astype(np.float32)

    def combined(self, a: tf.Tensor, b: tf.Tensor, gate: Gate) -> tf.Tensor:
        return self.found(a, b)


class Select(Layer):
    """`Select` and `SelectV2`: of two operands with the codes of the output the first where a condition holds.

    The condition is a comparison of activations; the gradient goes to the operand that is chosen.
    """

    def __init__(self, operator: Operator, context: Context):
        context.expect(len(operator.inputs) == 3, operator, "needs a condition and two operands")
        super().__init__(operator, context)
        condition, *pair = operator.inputs
        context.expect(condition in self.inputs, operator, "needs a condition that is no constant")
        context.expect(condition.type == "BOOL", operator, f"has a condition of type {condition.type}")
        codes = self.output.scale, self.output.zero_point
        kept = all((tensor.scale, tensor.zero_point) == codes for tensor in pair)
        context.expect(kept, operator, "changes the scale, which its kernel ignores")
        self.constants = [
            None if tensor.data is None else arithmetic.variable(tensor.data.astype(np.float32) - tensor.zero_point)
            for tensor in pair
        ]

    @staticmethod
    def operands(operator: Operator) -> tuple[Tensor | None, ...]:
        return operator.inputs

    def coded(self) -> list[Tensor]:
        return [*self.operands(self.operator)[1:], self.output]

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        condition, *given = values
        left = iter(given)
        chosen, other = (next(left) if part is None else tf.stop_gradient(part) for part in self.constants)
        return tf.where(condition > 0, chosen, other)
