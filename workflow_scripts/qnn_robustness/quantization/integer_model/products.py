"""BATCH_MATMUL: products of matrices, one of them or both activations, as an attention has them."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator, Tensor
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.estimators import Gate, rounded_and_clipped
from qnn_robustness.quantization.integer_model.layer import (
    EXACT_FLOAT32,
    EXACT_FLOAT64,
    Context,
    Layer,
    centered_limits,
)

_INT32 = 2**31


class BatchMatMul(Layer):
    """`BatchMatMul` of each sample's matrices; XNNPACK takes it where the second operand has the zero point 0."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        context.expect(len(operator.inputs) == 2, operator, "needs two inputs")
        first, second = operator.inputs
        context.expect(first.data is None and len(first.shape) > 2, operator, "needs matrices of each sample first")
        # A constant has no samples: the axis is missing, or of size 1.
        constant = len(second.shape) < len(first.shape) or second.shape[0] == 1
        fits = len(second.shape) == len(first.shape) if second.data is None else constant
        context.expect(fits, operator, "has matrices for batches of different sizes")
        self.transposed = [bool(operator.options.get(name, False)) for name in ("adjX", "adjY")]
        self.constants = {
            tensor.index: arithmetic.variable(tensor.data.astype(np.float32) - np.float32(tensor.zero_point))
            for tensor in operator.inputs
            if tensor.data is not None
        }
        terms = first.shape[-2 if self.transposed[0] else -1]
        largest = [max(map(abs, centered_limits(tensor))) for tensor in operator.inputs]
        self.bound = terms * largest[0] * largest[1]
        self.dtype = tf.float32 if self.bound < EXACT_FLOAT32 else tf.float64
        self.low, self.high = centered_limits(self.output)
        # `GetQuantizedConvolutionMultipler` multiplies both scales in float32.
        product = np.float32(operator.inputs[0].scale * operator.inputs[1].scale)
        self.slope = np.float64(product) / np.float64(self.output.scale)
        self.rounding = self._rounding(product)

    @staticmethod
    def operands(operator: Operator) -> tuple[Tensor | None, ...]:
        return operator.inputs[:2]

    def _rounding(self, product: np.float32) -> Callable[[tf.Tensor], tf.Tensor]:
        multiplier, shift = arithmetic.quantize_multiplier(float(self.slope))
        if not self.is_int8:
            reduced = int(arithmetic.reduced_multiplier(np.int64(multiplier)))
            fits = self.bound * reduced < EXACT_FLOAT64 / 2 and shift < 8 and self.bound * self.slope < _INT32
            self.context.expect(fits, self.operator, "sums exceed 47 bits; this cannot be exact")
            scale = reduced * 2.0 ** (shift - 15)
            return lambda x: tf.floor(tf.cast(x, tf.float64) * scale + 0.5)
        if self.context.kernels == "xnnpack" and self.operator.inputs[1].zero_point == 0:
            scale = arithmetic.variable(product / self.output.scale)
            return lambda x: tf.round(tf.cast(x, tf.float32) * scale)
        fits = self.bound * 2.0 ** max(shift, 0) < _INT32
        self.context.expect(fits, self.operator, "sums may overflow 32 bits; this cannot be exact")
        return lambda x: arithmetic.scale_split(tf.cast(x, tf.float64), multiplier, shift, "away")

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        given = iter(values)
        a, b = (
            tf.cast(next(given) if tensor.data is None else self.constants[tensor.index], self.dtype)
            for tensor in self.operator.inputs
        )
        product = tf.matmul(a, b, *self.transposed)
        return rounded_and_clipped(product, self.rounding, self.slope, self.low, self.high, gate)
