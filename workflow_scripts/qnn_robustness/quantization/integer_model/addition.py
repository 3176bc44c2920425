"""ADD and SUB of two operands with scales of their own."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.estimators import Gate
from qnn_robustness.quantization.integer_model.layer import Context, activation_limits, centered_limits
from qnn_robustness.quantization.integer_model.pairs import Pairs

_TRIALS = 64
_INT16 = 2**15
_LEFT_SHIFT = {"INT8": 20, "INT16": 15}


class Add(Pairs):
    """`reference_integer_ops::Add`, its int16 form with the same scheme, and XNNPACK's vadd."""

    sign = 1  # of the second operand

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.slopes = [np.float32(tensor.scale / self.output.scale) for tensor in self.pair]
        if not all(2.0**-10 <= slope < 2.0**8 for slope in self.slopes):
            self.context = context.left_to_built_in()
        self.low, self.high = activation_limits(operator, self.context)
        # Built-in int8 sums wrap around in 16 bits before they are clipped.
        pairs = zip(self.slopes, self.pair, strict=True)
        largest = sum(float(slope) * max(map(abs, centered_limits(tensor))) for slope, tensor in pairs)
        self.context.expect(
            not self.is_int8 or self.context.kernels != "builtin" or largest < _INT16 - 256,
            operator,
            "sums may overflow 16 bits; this cannot be exact",
        )
        self.rounding = self._rounding_int8() if self.is_int8 else self._stages()

    # -- the scheme of TFLite's kernels ------------------------------------------------------------

    def _multipliers(self) -> tuple[list[tuple[int, int]], tuple[int, int]]:
        scales = [np.float64(tensor.scale) for tensor in self.pair]
        twice = 2 * max(scales)
        output = twice / (2.0 ** _LEFT_SHIFT[self.output.type] * np.float64(self.output.scale))
        self.context.expect(output < 1, self.operator, "has an output scale too small for its inputs")
        return [arithmetic.quantize_multiplier(scale / twice) for scale in scales], arithmetic.quantize_multiplier(
            output
        )

    def _stages(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """Both inputs scaled to a common scale, added, scaled to the output: each step proved equal to int64."""
        inputs, output = self._multipliers()
        vectorised = not self.is_int8 and self.context.kernels != "reference" and not self.repeats
        first, bits = "single" if vectorised else "away", _LEFT_SHIFT[self.output.type]
        (first_scaled, first_bound), (second_scaled, second_bound) = (
            arithmetic.scaled_codes(*multiplier, bits, first, centered_limits(tensor))
            for multiplier, tensor in zip(inputs, self.pair, strict=True)
        )
        zero, bound = np.zeros(1, np.int64), np.array([first_bound + second_bound])
        scale = arithmetic.fixed_point(*np.array(output)[:, None], zero, bound, "away", self.low, self.high)
        return lambda a, b: scale(first_scaled(a) + self.sign * second_scaled(b))

    def _exact_stages(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        inputs, output = self._multipliers()
        unit = _LEFT_SHIFT[self.output.type]
        scaled = [
            arithmetic.scale_exactly(x.astype(np.int64) << unit, *multiplier, "away")
            for x, multiplier in zip((a, b), inputs, strict=True)
        ]
        return arithmetic.scale_exactly(scaled[0] + self.sign * scaled[1], *output, "away")

    # -- XNNPACK -----------------------------------------------------------------------------------

    def _xnnpack_fixed_point(self) -> tuple[list[float], int]:
        # xnn_init_qs8_add_minmax_params: 20-bit multipliers, one shift for both.
        shift = 20 - (int(np.frexp(max(self.slopes))[1]) - 1)
        first, second = (float(np.rint(np.ldexp(np.float64(slope), shift))) for slope in self.slopes)
        return [first, self.sign * second], shift

    def _exact_xnnpack(self, a: np.ndarray, b: np.ndarray) -> np.ndarray:
        (first, second), shift = self._xnnpack_fixed_point()
        total = a.astype(np.int64) * int(first) + b.astype(np.int64) * int(second)
        return (total + (1 << (shift - 1))) >> shift

    def _xnnpack_stages(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        (first, second), shift = self._xnnpack_fixed_point()

        def apply(a: tf.Tensor, b: tf.Tensor) -> tf.Tensor:
            total = tf.cast(a, tf.float64) * first + tf.cast(b, tf.float64) * second
            return tf.floor(total * 2.0**-shift + 0.5)

        return apply

    # -- the fast form for int8 --------------------------------------------------------------------

    def _rounding_int8(self) -> Callable[[tf.Tensor, tf.Tensor], tf.Tensor]:
        """A float32 form that reproduces all pairs of codes, if one is found; otherwise the exact stages."""
        xnnpack = self.context.kernels == "xnnpack"
        exact = self._exact_xnnpack if xnnpack else self._exact_stages
        codes = [np.arange(low, high + 1, dtype=np.float32) for low, high in map(centered_limits, self.pair)]
        a, b = codes[0][:, None], codes[1][None, :]
        expected = np.clip(exact(a, b), self.low, self.high)
        # Two roundings in a row move ties; half up and half away differ only below zero.
        symmetric = not xnnpack and self.low < 0
        random = np.random.default_rng(0)
        for trial in range(_TRIALS):
            nudges = random.uniform(-1, 1, 3) * (2.0**-20 if trial else 0)
            fast = _AffineSum(
                self.slopes[0] * np.float32(1 + nudges[0] / 8),
                self.sign * self.slopes[1] * np.float32(1 + nudges[1] / 8),
                np.float32(nudges[2] * 8 + (0 if xnnpack else 2.0**-18)),
                symmetric,
            )
            if np.array_equal(np.clip(fast(a, b), self.low, self.high), expected):
                return fast
        return self._xnnpack_stages() if xnnpack else self._stages()

    def combined(self, a: tf.Tensor, b: tf.Tensor, gate: Gate) -> tf.Tensor:
        low, high = float(self.low), float(self.high)

        @tf.custom_gradient
        def apply(a: tf.Tensor, b: tf.Tensor):
            unclipped = self.rounding(a, b)

            def gradient(upstream: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
                passed = upstream * gate(tf.cast(unclipped, tf.float32), low, high)
                return passed * self.slopes[0], passed * (self.sign * self.slopes[1])

            return tf.clip_by_value(tf.cast(unclipped, tf.float32), low, high), gradient

        return apply(a, b)


class Sub(Add):
    """`reference_ops::Sub` and XNNPACK's vsub: the scheme of ADD, the second operand subtracted."""

    sign = -1


class _AffineSum:
    """(a, b) -> round(first a + second b) in float32, for TensorFlow tensors and NumPy arrays alike."""

    def __init__(self, first: np.float32, second: np.float32, nudge: np.float32, symmetric: bool):
        self.symmetric = symmetric
        self.arrays = (np.float32(first), np.float32(second), np.float32(np.float32(0.5) + nudge))
        self.variables = tuple(arithmetic.variable(array) for array in self.arrays)

    def __call__(self, a: tf.Tensor | np.ndarray, b: tf.Tensor | np.ndarray) -> tf.Tensor | np.ndarray:
        library, (first, second, half) = (tf, self.variables) if tf.is_tensor(a) else (np, self.arrays)
        value = a * first + b * second
        if self.symmetric:
            return library.sign(value) * library.floor(library.abs(value) + half)
        return library.floor(value + half)
