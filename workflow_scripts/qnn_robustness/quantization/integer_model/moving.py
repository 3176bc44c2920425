"""Operators that move or rescale codes.

CONCATENATION, EXPAND_DIMS, FILL, MIRROR_PAD, PACK, PAD, PADV2, RESHAPE, REVERSE_V2, SQUEEZE, TILE, TRANSPOSE, and
QUANTIZE from integers or from float32.
"""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator, Tensor
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.estimators import Gate, rounded_and_clipped
from qnn_robustness.quantization.integer_model.layer import Context, Layer, centered_limits, constant_integers
from qnn_robustness.quantization.tflite_model import VECTOR_FLOAT32, VECTOR_INT8, requantized_by_xnnpack

_MIRRORS = {0: "REFLECT", 1: "SYMMETRIC"}


class _Joined(Layer):
    """Activations side by side along an axis of the output, any but the batch."""

    new_axes: int  # of the output that the inputs do not have

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.expect_kept_codes()
        context.expect(len(self.inputs) == len(operator.inputs), operator, "joins a constant")
        axis, rank = int(operator.options.get("axis", 0)), len(self.inputs[0].shape) + self.new_axes
        self.axis = axis + rank if axis < 0 else axis
        context.expect(0 < self.axis < rank, operator, f"joins along axis {axis}; only axes after the batch work")

    @staticmethod
    def operands(operator: Operator) -> tuple[Tensor | None, ...]:
        return operator.inputs


class Concatenation(_Joined):
    """`Concatenation` along an axis of the inputs."""

    new_axes = 0

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.concat(values, self.axis)


class Pack(_Joined):
    """`Pack` along a new axis."""

    new_axes = 1

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.stack(values, self.axis)


class Pad(Layer):
    """`Pad` with the zero point, and `PadV2` with a constant."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.expect_kept_codes()
        values = operator.inputs[2:]
        known = all(value is not None and value.data is not None and value.data.size == 1 for value in values)
        context.expect(known and len(values) < 2, operator, "needs one constant to pad with")
        self.value = sum(float(np.ravel(value.data)[0]) - value.zero_point for value in values)
        given = operator.inputs[1] if len(operator.inputs) > 1 else None
        paddings, rank = None if given is None else given.data, len(self.inputs[0].shape)
        context.expect(
            paddings is not None and paddings.shape == (rank, 2) and bool((paddings >= 0).all()),
            operator,
            "needs constant paddings, two for each dimension",
        )
        context.expect(not paddings[0].any(), operator, "pads the batch")
        padded = tuple(np.add(self.inputs[0].shape, paddings.sum(axis=1)).tolist())
        self.expect_sizes(padded)
        self.paddings = paddings.astype(np.int32)

    @staticmethod
    def operands(operator: Operator) -> tuple[Tensor | None, ...]:
        return operator.inputs[:1] + operator.inputs[2:3]

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.pad(values[0], self.paddings, constant_values=self.value)


class MirrorPad(Pad):
    """`MirrorPad`: what lies inside, mirrored at the edge or at the last value."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        mode = operator.options.get("mode", 0)
        context.expect(mode in _MIRRORS, operator, f"has an unknown mode {mode}")
        self.mode = _MIRRORS[mode]

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.pad(values[0], self.paddings, self.mode)


class Reshape(Layer):
    """`Reshape` that keeps samples apart. The shape may be constant or computed from the batch size.

    A sample may become several, as in dense layers on the last of many axes, and one again.
    """

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.expect_kept_codes()
        source, given = self.inputs[0].shape, self._sizes()
        self.target = target = _filled(given, source) if self.output.open else self.output.shape
        whole = len(source) > 0 and len(target) > 0 and np.prod(source) % max(np.prod(target[1:]), 1) == 0
        context.expect(whole, operator, f"reshapes {source} to {target}; only shapes that keep samples apart work")
        filled = tuple(known if size == -1 else size for size, known in zip(given[1:], target[1:], strict=False))
        context.expect(
            len(given) == len(target) and filled == target[1:], operator, f"gives {given}; the file says {target}"
        )

    def _sizes(self) -> tuple[int, ...]:
        """The shape that the kernel makes, as far as the file says it."""
        inputs = self.operator.inputs
        sizes = inputs[1].data if len(inputs) > 1 and inputs[1] is not None else None
        return self.output.shape if sizes is None else tuple(int(size) for size in np.ravel(sizes))

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.reshape(values[0], [-1, *self.target[1:]])


def _filled(sizes: tuple[int, ...], source: tuple[int, ...]) -> tuple[int, ...]:
    """Return the sizes of what has as many values as `source`; one of them may be -1, which stands for the rest."""
    known = np.prod([size for size in sizes if size > 0])
    return tuple(int(np.prod(source) // known) if size == -1 else size for size in sizes)


class ExpandDims(Reshape):
    """`ExpandDims`: an axis of size 1 more."""

    def _sizes(self) -> tuple[int, ...]:
        axis, rank = constant_integers(self.operator, self.context, 1, "axis")[0], len(self.inputs[0].shape)
        self.context.expect(-rank - 1 <= axis <= rank, self.operator, f"has no place for axis {axis}")
        sizes = list(self.inputs[0].shape)
        sizes.insert(axis + rank + 1 if axis < 0 else axis, 1)
        return tuple(sizes)


class Squeeze(Reshape):
    """`Squeeze`: named axes of size 1 less, or all of them."""

    def _sizes(self) -> tuple[int, ...]:
        shape, given = self.inputs[0].shape, self.operator.options.get("squeezeDims")
        ones = [axis for axis, size in enumerate(shape) if size == 1]
        axes = ones if given is None or len(given) == 0 else [int(axis) % len(shape) for axis in given]
        self.context.expect(0 not in axes, self.operator, "takes the batch away")
        self.context.expect(set(axes) <= set(ones), self.operator, f"takes axes {axes} of {shape} away")
        return tuple(size for axis, size in enumerate(shape) if axis not in axes)


class Tile(Layer):
    """`Tile`: each sample repeated along its axes."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.expect_kept_codes()
        self.times = constant_integers(operator, context, 1, "multiples")
        fits = len(self.times) == len(self.inputs[0].shape) and min(self.times) > 0
        context.expect(fits, operator, f"has the multiples {self.times}")
        context.expect(self.times[0] == 1, operator, "repeats the batch")
        self.expect_sizes(tuple(np.multiply(self.inputs[0].shape, self.times).tolist()))

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.tile(values[0], self.times)


class Transpose(Layer):
    """`Transpose` of all axes but the batch."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.expect_kept_codes()
        order = constant_integers(operator, context, 1, "axes")
        axes = list(range(len(self.inputs[0].shape)))
        context.expect(sorted(order) == axes, operator, f"has the order of axes {order}")
        context.expect(order[0] == 0, operator, "moves the batch")
        self.order = order

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.transpose(values[0], self.order)


class Reverse(Layer):
    """`Reverse` of axes other than the batch. Codes stay as they are, also where the output has another scale."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        axes, rank = constant_integers(operator, context, 1, "axes"), len(self.inputs[0].shape)
        fits = all(-rank <= axis < rank for axis in axes)
        context.expect(fits, operator, f"has axes {axes} for shape {self.inputs[0].shape}")
        self.axes = [axis % rank for axis in axes]
        context.expect(0 not in self.axes, operator, "reverses the batch")

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.reverse(values[0], self.axes) + float(self.inputs[0].zero_point - self.output.zero_point)


class Fill(Layer):
    """`Fill`: one constant for as many samples as the network's input has, which is put before the inputs."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        sizes, value = constant_integers(operator, context, 1, "sizes"), operator.inputs[2]
        known = value is not None and value.data is not None and value.data.size == 1
        context.expect(known, operator, "needs one constant to fill with")
        kept = (value.scale, value.zero_point) == (self.output.scale, self.output.zero_point)
        context.expect(value.type == self.output.type and kept, operator, "changes the scale, which its kernel ignores")
        samples = max(self.inputs[0].shape[0], 1)
        context.expect(sizes[0] % samples == 0, operator, f"fills {sizes[0]} rows for {samples} samples")
        self.value, self.rows, self.sizes = (
            float(np.ravel(value.data)[0]) - value.zero_point,
            sizes[0] // samples,
            sizes,
        )

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.fill([tf.shape(values[0])[0] * self.rows, *self.sizes[1:]], self.value)


class Requantize(Layer):
    """QUANTIZE between two scales of the same type: `Requantize`, or XNNPACK's 8-bit fixed point."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.low, self.high = centered_limits(self.output)
        self.slope = np.float32(self.inputs[0].scale / self.output.scale)
        delegated = (
            self.is_int8 and context.kernels == "xnnpack" and requantized_by_xnnpack(self.inputs[0], self.output)
        )
        self.rounding = self._xnnpack() if delegated else self._double()

    def _double(self) -> Callable[[tf.Tensor], tf.Tensor]:
        real = np.float64(self.inputs[0].scale) / np.float64(self.output.scale)
        multiplier, shift = arithmetic.quantize_multiplier(real)
        largest = max(map(abs, centered_limits(self.inputs[0])))
        reason = "codes may overflow 32 bits; this cannot be exact"
        self.context.expect(largest * 2.0 ** max(shift, 0) < 2**31, self.operator, reason)

        def rounded(x: tf.Tensor, rounding: str) -> tf.Tensor:
            return arithmetic.scale_split(tf.cast(x, tf.float64), multiplier, shift, rounding)

        if not self.is_int8 or self.context.kernels == "reference":
            return lambda x: rounded(x, "away")
        in_head = in_vectors(self.output, VECTOR_INT8)
        return lambda x: tf.where(in_head, rounded(x, "up"), rounded(x, "away"))

    def _xnnpack(self) -> Callable[[tf.Tensor], tf.Tensor]:
        multiplier = np.rint(np.float32(256) * self.slope)
        return lambda x: tf.floor(x * float(multiplier) * (1 / 256) + 0.5)

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return rounded_and_clipped(values[0], self.rounding, self.slope, self.low, self.high, gate)


def rounding_of_floats(output: Tensor, kernels: str | None) -> Callable[[tf.Tensor], tf.Tensor]:
    """QUANTIZE of float32 values: `AffineQuantize`, its vectorised form, or XNNPACK's; None: before the file.

    Returns values -> centered codes before clipping, in floating point.
    """
    scale, reciprocal = (arithmetic.variable(value) for value in (output.scale, np.float32(1) / output.scale))
    if kernels is None:
        return lambda x: tf.round(x / scale)
    if kernels == "reference":
        return lambda x: arithmetic.half_away(x / scale)
    if kernels == "xnnpack":
        return lambda x: tf.round(x * reciprocal)
    in_head, wide = in_vectors(output, VECTOR_FLOAT32), arithmetic.variable(output.scale, np.float64)
    return lambda x: tf.where(
        in_head,
        tf.round(x * reciprocal),
        tf.cast(arithmetic.half_away(tf.cast(x, tf.float64) / wide), tf.float32),
    )


def in_vectors(tensor: Tensor, width: int) -> np.ndarray:
    """Which codes of one sample a vectorised kernel takes; a scalar loop rounds the last ones in another way.

    The kernel counts the codes of a whole batch, so TFLiteModel runs such files sample by sample.
    """
    size = int(np.prod(tensor.shape[1:]))
    return (np.arange(size) < size // width * width).reshape(tensor.shape[1:])
