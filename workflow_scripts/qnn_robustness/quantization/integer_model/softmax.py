"""SOFTMAX over the last axis, in NumPy: at the end of a file gradients are taken at the logits before it."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.estimators import Gate
from qnn_robustness.quantization.integer_model.layer import LIMITS, Context, Layer

_INT32_MIN, _INT32_MAX = -(2**31), 2**31 - 1
_DIFFERENCE_BITS = 5  # integer bits of the exponent's fixed-point format
_SUM_BITS = 12  # integer bits of the sum's fixed-point format
_LUT_STEPS = 512


class Softmax:
    """`Softmax` (reference, int8), the table form (built-in, int8) or `SoftmaxInt16`. Codes in, codes out."""

    def __init__(self, operator: Operator, context: Context):
        source, output = operator.inputs[0], operator.outputs[0]
        context.expect(
            source is not None
            and (source.type, source.shape[1:]) == (output.type, output.shape[1:])
            and source.type in LIMITS,
            operator,
            "supported: INT8 to INT8 and INT16 to INT16, of one shape",
        )
        context.expect(len(source.scales) == 1 and len(output.scales) == 1, operator, "needs one scale")
        expected = (2.0**-8, -128) if source.type == "INT8" else (2.0**-15, 0)
        context.expect(
            (float(output.scale), output.zero_point) == expected,
            operator,
            f"output scale and zero point must be {expected}",
        )
        self.operator, self.output = operator, output
        scale, beta = source.scale, np.float32(operator.options.get("beta", 1.0))
        self.beta = beta
        if source.type == "INT16":
            self.function = _Int16(scale, beta)
        elif context.kernels == "reference":
            self.function = _Reference(scale, beta)
        else:
            self.function = _Table(scale, beta)

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        """Map integer codes [..., C] to integer codes of probabilities."""
        low, high = LIMITS[self.output.type]
        return np.clip(self.function(codes.astype(np.int64)), low, high)


class InnerSoftmax(Layer):
    """A softmax between other layers, such as that of an attention; the gradient is that of the real function."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.softmax = Softmax(operator, context)

    def _probabilities(self, centered: np.ndarray) -> np.ndarray:
        codes = self.softmax(centered.astype(np.int64) + self.inputs[0].zero_point)
        return (codes - self.output.zero_point).astype(np.float32)

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        @tf.custom_gradient
        def apply(x: tf.Tensor):
            codes = tf.ensure_shape(tf.numpy_function(self._probabilities, [x], tf.float32), x.shape)

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                share = codes * self.output.scale
                passed = share * (upstream - tf.reduce_sum(upstream * share, -1, keepdims=True))
                return passed * (self.softmax.beta * self.inputs[0].scale / self.output.scale)

            return codes, gradient

        return apply(values[0])


class _Table:
    """`optimized_ops::Softmax`: float32 exponentials from a table, summed in order."""

    def __init__(self, scale: np.float32, beta: np.float32):
        steps = np.arange(256, dtype=np.float32)
        # The kernel's expf is correctly rounded in all but rare cases; so is float64 rounded to float32.
        exponents = np.float32(-scale * beta) * steps
        self.table = np.exp(exponents.astype(np.float64)).astype(np.float32)

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        exponentials = self.table[codes.max(-1, keepdims=True) - codes]
        total = np.zeros(codes.shape[:-1], np.float32)
        for index in range(codes.shape[-1]):
            total = total + exponentials[..., index]
        inverse = np.float32(1) / (total * np.float32(1 / 256))
        return np.floor(exponentials * inverse[..., None] + np.float32(0.5)).astype(np.int64) - 128


class _Reference:
    """`reference_ops::Softmax` on gemmlowp fixed point: Q5.26 exponents, Q12.19 sums, Newton's reciprocal."""

    def __init__(self, scale: np.float32, beta: np.float32):
        # `PreprocessSoftmaxScaling`
        real = min(np.float64(beta) * np.float64(scale) * 2.0 ** (31 - _DIFFERENCE_BITS), float(_INT32_MAX))
        self.multiplier, self.shift = arithmetic.quantize_multiplier(real)
        # `CalculateInputRadius`: below it an exponential counts as 0.
        self.lowest = -int(((1 << _DIFFERENCE_BITS) - 1) * 2.0 ** (31 - _DIFFERENCE_BITS) / 2.0**self.shift)

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        difference = codes - codes.max(-1, keepdims=True)
        counts = difference >= self.lowest
        scaled = _doubling_high(np.where(counts, difference, 0) << self.shift, self.multiplier)
        exponentials = _exp_of_negative(scaled)
        total = np.where(counts, _divide_rounding(exponentials, _SUM_BITS), 0).sum(-1, keepdims=True)
        reciprocal, exponent = _reciprocal(total)
        product = _doubling_high(reciprocal, exponentials)
        return np.where(counts, _divide_rounding(product, exponent + 31 - 8) - 128, -128)


def _doubling_high(a: np.ndarray, b: np.ndarray | int) -> np.ndarray:
    """gemmlowp `SaturatingRoundingDoublingHighMul`."""
    saturated = (a == _INT32_MIN) & (b == _INT32_MIN)
    return np.where(saturated, _INT32_MAX, (a * b + (1 << 30)) >> 31)


def _divide_rounding(x: np.ndarray, exponent: np.ndarray | int) -> np.ndarray:
    """gemmlowp `RoundingDivideByPOT`: half away from zero."""
    exponent = np.asarray(exponent, np.int64)
    half = np.where(exponent > 0, np.int64(1) << np.maximum(exponent - 1, 0), 0)
    return (x + half - ((x < 0) & (exponent > 0))) >> exponent


def _saturate(x: np.ndarray) -> np.ndarray:
    return np.clip(x, _INT32_MIN, _INT32_MAX)


def _exp_of_negative(x: np.ndarray) -> np.ndarray:
    """gemmlowp `exp_on_negative_values`: Q5.26 in, Q0.31 out."""
    quarter = 1 << 24
    remainder = (x & (quarter - 1)) - quarter
    result = _exp_near_minus_eighth(remainder << 5)
    rest = remainder - x
    # exp(-1/4), exp(-1/2), exp(-1), ..., exp(-16) in Q0.31
    for index in range(7):
        factor = int(np.rint(np.exp(-(2.0 ** (index - 2))) * 2**31))
        result = np.where((rest >> (24 + index)) & 1, _doubling_high(result, factor), result)
    return np.where(x == 0, _INT32_MAX, result)


def _exp_near_minus_eighth(a: np.ndarray) -> np.ndarray:
    """gemmlowp `exp_on_interval_between_negative_one_quarter_and_0_excl`: Taylor around -1/8."""
    constant, third = 1895147668, 715827883  # exp(-1/8), 1/3
    x = a + (1 << 28)
    square = _doubling_high(x, x)
    cube = _doubling_high(square, x)
    fourth = _divide_rounding(_doubling_high(square, square), 2)
    tail = _divide_rounding(_doubling_high(fourth + cube, third) + square, 1)
    return _saturate(constant + _doubling_high(x + tail, constant))


def _reciprocal(total: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """`GetReciprocal` of a Q12.19 sum: Q0.31 of 1 / (1 + fraction), and the power of two beside it."""
    headroom = 31 - np.floor(np.log2(total)).astype(np.int64)
    fraction = (total << headroom) - (1 << 31)
    # gemmlowp `one_over_one_plus_x_for_x_in_0_1`: three Newton steps from 48/17 - 32/17 d in Q2.29.
    half = (fraction + _INT32_MAX + 1) >> 1
    x = 1515870810 + _doubling_high(half, -1010580540)
    for _ in range(3):
        error = (1 << 29) - _doubling_high(half, x)
        x = x + _saturate(_doubling_high(x, error) << 2)
    return _saturate(x << 1), _SUM_BITS - headroom


class _Int16:
    """`SoftmaxInt16`: two interpolated tables of 513 entries (`LUTPopulate`, in float64)."""

    def __init__(self, scale: np.float32, beta: np.float32):
        real = float(np.float32(scale * beta)) / (10.0 / 65535.0)
        self.multiplier, self.shift = arithmetic.quantize_multiplier(real)
        self.exponentials = _table(np.exp, 10.0 / 65535, 32767)
        self.reciprocals = _table(lambda value: 1 / (1 + value), 1.0 / 65535, -32768)

    def __call__(self, codes: np.ndarray) -> np.ndarray:
        difference = codes - codes.max(-1, keepdims=True)
        scaled = arithmetic.scale_exactly(difference, self.multiplier, self.shift, "away")
        exponentials = _interpolate(np.clip(scaled + 32767, -32768, 32767), self.exponentials)
        total = exponentials.sum(-1, keepdims=True)
        headroom = 31 - np.floor(np.log2(total)).astype(np.int64)
        fraction = ((total << (headroom - 1)) + (1 << 13)) >> 14
        reciprocal = _interpolate(np.clip(fraction - (1 << 15) - (1 << 16), -32768, 32767), self.reciprocals)
        shift = 31 - headroom
        return np.clip((exponentials * reciprocal + (np.int64(1) << (shift - 1))) >> shift, 0, 32767)


def _round_half_away(value: np.ndarray) -> np.ndarray:
    return np.sign(value) * np.floor(np.abs(value) + 0.5)


def _table(function: Callable[[np.ndarray], np.ndarray], scale: float, zero_point: int) -> np.ndarray:
    """`LUTPopulate<int16_t>`: samples less half the error of interpolation in the middle of a step."""
    first, last = scale * (-32768 - zero_point), scale * (32767 - zero_point)
    step = (last - first) / _LUT_STEPS
    output_scale = 2.0 / 65535
    gain = 65536 / (output_scale * 32767 - output_scale * -32768)
    starts = np.arange(_LUT_STEPS)
    here, following = (function(first + (starts + part) * step) * gain for part in (0, 1))
    middle = function(first + starts * step + step / 2) * gain
    interpolated = _round_half_away((following + _round_half_away(here)) / 2)
    correction = _round_half_away((interpolated - _round_half_away(middle)) / 2)
    end = _round_half_away(function(np.float64(last)) * gain)
    values = np.append(_round_half_away(here) - correction, end)
    return np.clip(values, -32768, 32767).astype(np.int64)


def _interpolate(value: np.ndarray, table: np.ndarray) -> np.ndarray:
    """`LUTLookup`: 9 bits of index, 7 bits of linear interpolation."""
    index, offset = 256 + (value >> 7), value & 0x7F
    base = table[index]
    return base + (((table[index + 1] - base) * offset + 64) >> 7)
