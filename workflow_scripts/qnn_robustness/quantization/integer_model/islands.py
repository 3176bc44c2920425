"""Functions that the converter leaves in float32 within an int8 network, between DEQUANTIZE and QUANTIZE.

They are functions of single values: the interpreter is asked for the float32 result of each code, from a file that
holds them alone, and that is rounded as its QUANTIZE does. So the bytes are those of the interpreter on the processor
on which the model is built; another mathematical library may give a sine or an exponential another last bit, and
seldom another code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.answers import answers, every_code
from qnn_robustness.quantization.integer_model.estimators import Gate
from qnn_robustness.quantization.integer_model.layer import Context, Layer, centered_limits
from qnn_robustness.quantization.integer_model.moving import in_vectors, rounding_of_floats
from qnn_robustness.quantization.integer_model.operators import on_floats
from qnn_robustness.quantization.integer_model.tables import CURVES, Curve
from qnn_robustness.quantization.tflite_model import VECTOR_FLOAT32


@dataclass(frozen=True, eq=False)
class Island(Operator):
    """DEQUANTIZE, functions in float32 and QUANTIZE as one operator, with the name and position of the first."""

    parts: tuple[Operator, ...] = ()


def with_islands(operators: Sequence[Operator]) -> list[Operator]:
    """Return operators in which what leads from a DEQUANTIZE to a QUANTIZE, value by value, is one `Island`."""
    takers: dict[int, list[Operator]] = {}
    for operator in operators:
        for tensor in operator.inputs:
            if tensor is not None:
                takers.setdefault(tensor.index, []).append(operator)
    islands: dict[int, list[Island]] = {}
    for operator in operators:
        ways = [_way(operator, taker, takers) for taker in takers.get(operator.outputs[0].index, ())]
        if operator.name == "DEQUANTIZE" and ways and all(ways):
            islands[operator.position] = [
                Island(operator.position, operator.name, operator.inputs, way[-1].outputs, {}, way) for way in ways
            ]
    within = {part.position for found in islands.values() for island in found for part in island.parts}
    result: list[Operator] = []
    for operator in operators:
        result.extend(islands.get(operator.position, [] if operator.position in within else [operator]))
    return result


def _way(first: Operator, taker: Operator, takers: Mapping[int, list[Operator]]) -> tuple[Operator, ...]:
    """Return the operators from a DEQUANTIZE to a QUANTIZE; none if they do not lead there value by value."""
    parts = [first]
    while taker.name != "QUANTIZE":
        others = taker.inputs[1:]
        alone = all(tensor is not None and tensor.data is not None and tensor.data.size == 1 for tensor in others)
        following = takers.get(taker.outputs[0].index, ())
        if not (on_floats(taker) and alone and len(following) == 1):
            return ()
        parts.append(taker)
        taker = following[0]
    return (*parts, taker)


def _negative(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return -x, -tf.ones_like(x)


def _square(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return x * x, 2 * x


def _sine(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.sin(x), tf.cos(x)


def _cosine(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    return tf.cos(x), -tf.sin(x)


def _sign(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """The derivative is that of a line from -1 to 1 (Hubara et al. 2016, section 2.3)."""
    return tf.sign(x), tf.cast(tf.abs(x) <= 1, x.dtype)


def _power(exponent: float) -> Curve:
    def curve(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        value = tf.pow(x, exponent)
        return value, exponent * tf.math.divide_no_nan(value, x)

    return curve


def _rounded(x: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
    """Rounding counts as the identity, in whichever direction it goes."""
    return x, tf.ones_like(x)


_CURVES: dict[str, Curve] = {
    "CEIL": _rounded,
    "COS": _cosine,
    "ELU": CURVES["ELU"],
    "FLOOR": _rounded,
    "NEG": _negative,
    "ROUND": _rounded,
    "SIGN": _sign,
    "SIN": _sine,
    "SQUARE": _square,
}


def _curve(operator: Operator) -> Curve:
    return _power(float(operator.inputs[1].data)) if operator.name == "POW" else _CURVES[operator.name]


class FloatFunctions(Layer):
    """An island as a table of float32 results for each code; the gradient is that of the real functions."""

    def __init__(self, operator: Island, context: Context):
        super().__init__(operator, context)
        source, inner = self.inputs[0], operator.parts[:-1]
        context.expect(source.shape[1:] == self.output.shape[1:], operator, "changes the shape")
        for part in inner[1:]:
            by_place = part.name == "ELU" and context.kernels == "builtin"
            reason = "is computed in another way for the last values of a batch; this cannot be exact"
            context.expect(not by_place, part, reason)
        self.curves = [_curve(part) for part in inner[1:]]
        codes = every_code(source)
        results = answers(context, inner, {source: codes})
        context.expect(bool(np.isfinite(results).all()), inner[-1], "gives values that are not finite")
        self.results, self.first = arithmetic.variable(results), centered_limits(source)[0]
        self.in_head = None  # on kernels that take all codes alike
        if context.kernels == "builtin":
            # Its DEQUANTIZE multiplies the codes that fill no vector in another order, the last ones of a sample.
            few = np.split(codes, range(VECTOR_FLOAT32 - 1, len(codes), VECTOR_FLOAT32 - 1))
            last = np.concatenate([answers(context, inner, {source: part}) for part in few])
            self.last_results, self.in_head = arithmetic.variable(last), in_vectors(source, VECTOR_FLOAT32)
        self.low, self.high = centered_limits(self.output)
        self.rounding = rounding_of_floats(self.output, context.kernels)

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        @tf.custom_gradient
        def apply(x: tf.Tensor):
            places = tf.cast(x, tf.int32) - self.first
            real = tf.gather(tf.stop_gradient(self.results), places)
            if self.in_head is not None:
                real = tf.where(self.in_head, real, tf.gather(tf.stop_gradient(self.last_results), places))
            unclipped = self.rounding(real)

            def gradient(upstream: tf.Tensor) -> tf.Tensor:
                slope = self._slope(x * self.inputs[0].scale) * (self.inputs[0].scale / self.output.scale)
                return upstream * gate(unclipped, self.low, self.high) * slope

            return tf.clip_by_value(unclipped, float(self.low), float(self.high)), gradient

        return apply(values[0])

    def _slope(self, value: tf.Tensor) -> tf.Tensor:
        """The derivative of all functions together, at real values."""
        slope = tf.ones_like(value)
        for curve in self.curves:
            value, factor = curve(value)
            slope = slope * factor
        return slope
