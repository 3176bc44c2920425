"""AVERAGE_POOL_2D, MAX_POOL_2D, MEAN, REDUCE_MAX, REDUCE_MIN and SUM."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.estimators import Gate, rounded_and_clipped
from qnn_robustness.quantization.integer_model.layer import (
    EXACT_FLOAT32,
    PADDINGS,
    Context,
    Layer,
    activation_limits,
    centered_limits,
    same_padding,
)


class _Pool(Layer):
    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        options = operator.options
        self.window = (int(options.get("filterHeight", 0)), int(options.get("filterWidth", 0)))
        self.strides = (int(options.get("strideH", 0)), int(options.get("strideW", 0)))
        context.expect(min(self.window + self.strides) > 0, operator, "has a window or stride below 1")
        context.expect(options.get("padding") in PADDINGS, operator, "has an unknown padding")
        context.expect(len(self.inputs[0].shape) == 4, operator, "needs an input of 4 dimensions")
        self.expect_kept_codes()
        self.padding = PADDINGS[options["padding"]]
        self.low, self.high = activation_limits(operator, context)


class AveragePool2D(_Pool):
    """`AveragePool`: the sum of the codes inside the image, divided, rounded half away from code 0."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.pads = [[0, 0], [0, 0]]
        if self.padding == "SAME":
            sizes = self.inputs[0].shape[1:3]
            self.pads = [same_padding(*triple) for triple in zip(sizes, self.window, self.strides, strict=True)]
        self.whole = self.window == self.inputs[0].shape[1:3] and not np.any(self.pads)
        self.counts = np.multiply.outer(self._counts(0), self._counts(1))[None, :, :, None].astype(np.float64)
        # float32 resolves the quotients of int8 sums; those of int16 codes need more bits.
        self.dtype = np.float32 if self.is_int8 and np.prod(self.window) * 255 < 2**22 else np.float64
        self.area = arithmetic.variable(np.prod(self.window), self.dtype)
        self.divisors = arithmetic.variable(self.counts, self.dtype)
        self.halves = arithmetic.variable(self.counts // 2, self.dtype)

    def _counts(self, axis: int) -> np.ndarray:
        """The number of pixels inside the image for each window along one axis."""
        (before, after), size = self.pads[axis], self.inputs[0].shape[1 + axis]
        starts = np.arange(0, before + size + after - self.window[axis] + 1, self.strides[axis]) - before
        return np.minimum(starts + self.window[axis], size) - np.maximum(starts, 0)

    def _sums(self, x: tf.Tensor) -> tf.Tensor:
        """Window sums, correct to a fraction of 1."""
        x = tf.cast(x, self.dtype)
        if self.whole:
            return tf.reduce_sum(x, [1, 2], keepdims=True)
        x = tf.pad(x, [[0, 0], *self.pads, [0, 0]])
        return tf.nn.avg_pool2d(x, self.window, self.strides, "VALID") * self.area

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        zero_point = self.output.zero_point

        def rounding(sums: tf.Tensor) -> tf.Tensor:
            codes = tf.round(sums) + self.divisors * zero_point
            return tf.sign(codes) * tf.floor((tf.abs(codes) + self.halves) / self.divisors) - zero_point

        slope = (1 / self.counts).astype(np.float32)
        return rounded_and_clipped(self._sums(values[0]), rounding, slope, self.low, self.high, gate)


class MaxPool2D(_Pool):
    """`MaxPool`."""

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        pooled = tf.nn.max_pool2d(values[0], self.window, self.strides, self.padding)
        return rounded_and_clipped(pooled, tf.identity, 1.0, self.low, self.high, gate)


class _Reduction(Layer):
    """What is done along constant axes other than the batch."""

    def __init__(self, operator: Operator, context: Context):
        context.expect(
            len(operator.inputs) == 2 and operator.inputs[1] is not None and operator.inputs[1].data is not None,
            operator,
            "needs constant axes",
        )
        super().__init__(operator, context)
        shape = self.inputs[0].shape
        axes = [int(axis) for axis in np.atleast_1d(operator.inputs[1].data)]
        context.expect(
            all(-len(shape) <= axis < len(shape) for axis in axes),
            operator,
            f"has axes {axes} for shape {shape}",
        )
        self.axes = sorted({axis % len(shape) for axis in axes})
        context.expect(0 not in self.axes, operator, "reduces the batch")
        self.keep = bool(operator.options.get("keepDims", False))


class _Extreme(_Reduction):
    """One of the codes: no arithmetic."""

    chosen: Callable[..., tf.Tensor]

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.expect_kept_codes()

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return self.chosen(values[0], self.axes, keepdims=self.keep)


class ReduceMax(_Extreme):
    """`ReduceMax`."""

    chosen = staticmethod(tf.reduce_max)


class ReduceMin(_Extreme):
    """`ReduceMin`."""

    chosen = staticmethod(tf.reduce_min)


class Mean(_Reduction):
    """`QuantizedMeanOrSum`, the optimised `Mean` over height and width, or XNNPACK's reduction."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        shape = self.inputs[0].shape
        self.count = int(np.prod([shape[axis] for axis in self.axes]))
        self.divisor = self._divisor()
        self.low, self.high = centered_limits(self.output)
        self.bound = self.count * max(map(abs, centered_limits(self.inputs[0])))
        self._expect_32_bits(shift=0)
        self.sum_dtype = tf.float32 if self.bound < EXACT_FLOAT32 else tf.float64
        if self.is_int8 and context.kernels == "xnnpack":
            self.rounding = self._xnnpack()
        elif self._is_optimized():
            self.rounding = self._optimized()
        else:
            self.rounding = self._folded()

    def _divisor(self) -> int:
        """What a sum is divided by."""
        return self.count

    def _is_optimized(self) -> bool:
        images = len(self.inputs[0].shape) == 4 and self.axes == [1, 2] and self.keep
        return self.is_int8 and self.context.kernels == "builtin" and images

    def _expect_32_bits(self, shift: int) -> None:
        fits = self.bound * 2.0 ** max(shift, 0) < 2**31
        self.context.expect(fits, self.operator, "the sum may overflow 32 bits; this cannot be exact")

    def _folded(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The division by the count becomes part of the multiplier."""
        multiplier, shift = arithmetic.quantize_multiplier(
            np.float64(self.inputs[0].scale) / np.float64(self.output.scale)
        )
        extra = min(self.divisor.bit_length() - 1, 32, 31 + shift)
        multiplier, shift = (multiplier << extra) // self.divisor, shift - extra
        self._expect_32_bits(shift)
        return lambda x: arithmetic.scale_split(tf.cast(x, tf.float64), multiplier, shift, "away")

    def _optimized(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """`optimized_integer_ops::Mean`: the zero points are scaled and rounded apart from the sum."""
        source, output = self.inputs[0], self.output
        multiplier, shift = arithmetic.quantize_multiplier(
            float(source.scale / np.float32(np.float32(self.count) * output.scale))
        )
        self._expect_32_bits(shift)
        moved = np.float32(source.zero_point) * source.scale / output.scale
        moved = int(moved + np.float32(0.5) if moved > 0 else moved - np.float32(0.5))
        origin = float(self.count * source.zero_point)
        channels = np.arange(source.shape[-1])
        # The vectorised kernel takes 16 channels at a time; the rest goes through the scalar function.
        in_head = channels < len(channels) // 16 * 16

        def rounding(x: tf.Tensor) -> tf.Tensor:
            sums = tf.cast(x, tf.float64) + origin
            up, away = (arithmetic.scale_split(sums, multiplier, shift, name) for name in ("up", "away"))
            return tf.where(in_head, up, away) - moved

        return rounding

    def _xnnpack(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """float32 arithmetic on the sum of codes; the zero points are one float32 offset; half to even."""
        source, output = self.inputs[0], self.output
        scale = np.float32(source.scale / output.scale) * np.float32(np.float32(1) / np.float32(self.divisor))
        offset = np.float32(output.zero_point) - np.float32(source.zero_point * self.count) * scale
        origin = float(self.count * source.zero_point)
        scale, offset = arithmetic.variable(scale), arithmetic.variable(offset)

        def rounding(x: tf.Tensor) -> tf.Tensor:
            codes = tf.cast(x + tf.constant(origin, x.dtype), tf.float32)
            return tf.round(codes * scale + offset) - output.zero_point

        return rounding

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        total = tf.reduce_sum(tf.cast(values[0], self.sum_dtype), self.axes, keepdims=self.keep)
        slope = np.float32(self.inputs[0].scale / self.output.scale / self.divisor)
        return rounded_and_clipped(total, self.rounding, slope, self.low, self.high, gate)


class Sum(Mean):
    """`optimized_ops::QuantizedMeanOrSum` without the division, or XNNPACK's reduction."""

    def __init__(self, operator: Operator, context: Context):
        wrong = "is summed wrong by the interpreter's reference kernels; choose kernels builtin or xnnpack"
        context.expect(context.kernels != "reference", operator, wrong)
        super().__init__(operator, context)
        if context.kernels == "builtin":
            self.rounding = self._float()

    def _divisor(self) -> int:
        return 1

    def _float(self) -> Callable[[tf.Tensor], tf.Tensor]:
        """The sum of codes times the quotient of the scales, in float32; the zero points are one offset."""
        source = self.inputs[0]
        scale = source.scale / self.output.scale
        offset = np.float32(-source.zero_point) * scale * np.float32(self.count)
        origin = float(self.count * source.zero_point)
        slope, offset = arithmetic.variable(scale), arithmetic.variable(offset)

        def rounding(x: tf.Tensor) -> tf.Tensor:
            codes = tf.cast(x + tf.constant(origin, x.dtype), tf.float32)
            return arithmetic.half_away(codes * slope + offset)

        return rounding

    def _is_optimized(self) -> bool:
        return False
