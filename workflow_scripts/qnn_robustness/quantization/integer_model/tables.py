"""Functions of single values: ABS, ELU, EXP, GELU, RELU and others that cut, LEAKY_RELU, LOG, LOGISTIC,
RSQRT, SQRT, TANH and HARD_SWISH.

Kernels compute them in many ways, but an activation has few codes: the interpreter is asked once for the output of
each, from a file that holds the operator alone.
"""

from __future__ import annotations

import math
from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.answers import answers, every_code
from qnn_robustness.quantization.integer_model.estimators import Gate
from qnn_robustness.quantization.integer_model.layer import CUTS, Context, Layer, centered_limits, limits_under

Curve = Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]  # real values -> the function there, and its derivative

_SMALLEST = 1e-12  # real value of which a logarithm or a root is taken


def _identity(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return x, tf.ones_like(x)


def _logistic(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    value = tf.sigmoid(x)
    return value, value * (1 - value)


def _tanh(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    value = tf.tanh(x)
    return value, 1 - value**2


def _hard_swish(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    share = tf.clip_by_value((x + 3) / 6, 0.0, 1.0)
    return x * share, tf.where(tf.abs(x) < 3, (2 * x + 3) / 6, share)


def _absolute(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.abs(x), tf.sign(x)


def _elu(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.nn.elu(x), tf.exp(tf.minimum(x, 0.0))


def _exponential(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    value = tf.exp(x)
    return value, value


def _gelu(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The exact function also for the approximation by a tanh, whose derivative differs by less than 0.001."""
    share = 0.5 * (1 + tf.math.erf(x / math.sqrt(2)))
    return x * share, share + x * tf.exp(-0.5 * x**2) / math.sqrt(2 * math.pi)


def _leaky(alpha: float) -> Curve:
    def curve(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        slope = tf.where(x < 0, alpha, 1.0)
        return x * slope, slope

    return curve


def _logarithm(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Also of what is not positive, for which kernels give the least code: as of the smallest number."""
    positive = tf.maximum(x, _SMALLEST)
    return tf.math.log(positive), tf.where(x > 0, 1 / positive, 0.0)


def _reciprocal_root(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Also of what is not positive, as of the smallest number."""
    positive = tf.maximum(x, _SMALLEST)
    value = tf.math.rsqrt(positive)
    return value, tf.where(x > 0, -0.5 * value / positive, 0.0)


def _root(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Also of what is not positive, as of the smallest number."""
    value = tf.sqrt(tf.maximum(x, _SMALLEST))
    return value, tf.where(x > 0, 0.5 / value, 0.0)


CURVES = {
    "ABS": _absolute,
    "ELU": _elu,
    "EXP": _exponential,
    "GELU": _gelu,
    "HARD_SWISH": _hard_swish,
    "LOG": _logarithm,
    "LOGISTIC": _logistic,
    "RSQRT": _reciprocal_root,
    "SQRT": _root,
    "TANH": _tanh,
}
OF_POSITIVE = ("RSQRT", "SQRT")  # their kernels stop at negative values: no network that runs has them
BOUNDED = ("LOGISTIC", "TANH")  # their ends are those of the codes: nothing is clipped


class Table(Layer):
    """One operator as a table of its output codes; the gradient is that of the real function."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        source, name = self.inputs[0], operator.name
        context.expect(len(operator.inputs) == 1, operator, f"has {len(operator.inputs)} inputs; it needs one")
        context.expect(self.output.open or source.shape[1:] == self.output.shape[1:], operator, "changes the shape")
        if name == "LEAKY_RELU":
            self.curve = _leaky(float(operator.options.get("alpha", 0)))
        else:
            self.curve = CURVES.get(name, _identity)
        self.low, self.high = limits_under(name if name in CUTS else "NONE", self.output, context)
        self.clips = name not in BOUNDED
        self.first = centered_limits(source)[0]
        self.codes = arithmetic.variable(self._outputs().astype(np.float32) - self.output.zero_point)

    def _outputs(self) -> np.ndarray:
        """Return the output code of each input code, in order."""
        codes = every_code(self.inputs[0])
        if self.operator.name in OF_POSITIVE:
            codes = np.maximum(codes, codes.dtype.type(self.inputs[0].zero_point))
        return answers(self.context, [self.operator], {self.inputs[0]: codes})

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        @tf.custom_gradient
        def apply(x: tf.Tensor):
            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                value, slope = self.curve(x * self.inputs[0].scale)
                passed = gate(tf.round(value / self.output.scale), self.low, self.high) if self.clips else 1.0
                return upstream * passed * slope * (self.inputs[0].scale / self.output.scale)

            return tf.gather(tf.stop_gradient(self.codes), tf.cast(x, tf.int32) - self.first), gradient

        return apply(values[0])
