"""RESIZE_BILINEAR and RESIZE_NEAREST_NEIGHBOR of images to a constant size."""

from __future__ import annotations

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator
from qnn_robustness.quantization.integer_model import arithmetic
from qnn_robustness.quantization.integer_model.estimators import Gate, rounded_and_clipped
from qnn_robustness.quantization.integer_model.layer import Context, Layer, centered_limits, constant_integers

_BITS, _BITS_XNNPACK = 10, 11  # of the weights along one axis


class _Resize(Layer):
    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.expect_kept_codes()
        shape, size = self.inputs[0].shape, constant_integers(operator, context, 1, "sizes")
        fits = len(shape) == 4 and len(size) == 2 and min(*size, *shape[1:]) > 0
        context.expect(fits, operator, f"resizes {shape} to {size}; it needs images, and a height and a width")
        self.expect_sizes((shape[0], *size, shape[3]))
        self.align = bool(operator.options.get("alignCorners", False))
        self.half = bool(operator.options.get("halfPixelCenters", False))
        context.expect(not (self.align and self.half), operator, "aligns both corners and centers of pixels")
        self.axes = list(zip(shape[1:3], size, strict=True))

    def _step(self, size: int, outputs: int) -> np.float32:
        """The pixels of the input for one of the output."""
        ends = int(self.align and outputs > 1)
        return np.float32(size - ends) / np.float32(outputs - ends)


class ResizeNearestNeighbor(_Resize):
    """`ResizeNearestNeighbor`: no arithmetic; places are computed in float32 (`GetNearestNeighbor`)."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.rows, self.columns = (self._nearest(*sizes) for sizes in self.axes)

    def _nearest(self, size: int, outputs: int) -> np.ndarray:
        offset = np.float32(0.5 if self.half else 0)
        places = (np.arange(outputs, dtype=np.float32) + offset) * self._step(size, outputs)
        whole = np.floor(places.astype(np.float64) + (0.5 if self.align else 0))
        return np.clip(whole, 0, size - 1).astype(np.int32)

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.gather(tf.gather(values[0], self.rows, axis=1), self.columns, axis=2)


class ResizeBilinear(_Resize):
    """`ResizeBilinearInteger`, also of the built-in kernels, and XNNPACK's `s8-ibilinear`.

    They weight codes, not codes less their zero point, which matters where halves are rounded away from code 0.
    """

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.low, self.high = centered_limits(self.output)
        self.xnnpack = self.is_int8 and context.kernels == "xnnpack"
        weights, bits = (self._weights_xnnpack, _BITS_XNNPACK) if self.xnnpack else (self._weights, _BITS)
        self.rows, self.columns = (arithmetic.variable(weights(*sizes), np.float64) for sizes in self.axes)
        self.slope = 2.0 ** (-2 * bits)

    def _weights(self, size: int, outputs: int) -> np.ndarray:
        """`ComputeInterpolationValuesInteger`: weights [outputs, size] in units of 2**-10."""
        unit, ends = 1 << _BITS, int(self.align and outputs > 1)
        step = (unit * (size - ends) + (outputs - ends) // 2) // (outputs - ends)
        places = np.arange(outputs) * step + (step // 2 - unit // 2 if self.half else 0)
        lower = np.maximum(places // unit, 0)
        upper = np.minimum((places + unit - 1) // unit, size - 1)
        return self._between(size, lower, upper, places - unit * lower, unit)

    def _weights_xnnpack(self, size: int, outputs: int) -> np.ndarray:
        """`xnn_indirection_init_resize_bilinear2d_hwc_q11`: weights [outputs, size] in units of 2**-11."""
        step, unit = self._step(size, outputs), 1 << _BITS_XNNPACK
        places = np.arange(outputs, dtype=np.float32) * step
        if self.half:
            places = np.clip(places + (np.float32(0.5) * step - np.float32(0.5)), 0, np.float32(size - 1))
        lower = places.astype(np.int64)
        share = np.rint((places - lower.astype(np.float32)) * np.float32(unit)).astype(np.int64)
        return self._between(size, lower, np.minimum(lower + 1, size - 1), share, unit)

    def _between(self, size: int, lower: np.ndarray, upper: np.ndarray, share: np.ndarray, unit: int) -> np.ndarray:
        """The weights [outputs, size] of the pixels at `lower` and at `upper`, whose share of `unit` is given."""
        self.context.expect(bool((lower < size).all()), self.operator, "reads beyond the image")
        weights, rows = np.zeros((len(lower), size)), np.arange(len(lower))
        np.add.at(weights, (rows, lower), unit - share)
        np.add.at(weights, (rows, upper), share)
        return weights

    def _rounded(self, sums: tf.Tensor) -> tf.Tensor:
        codes = sums * self.slope
        rounded = tf.floor(codes + 0.5) if self.xnnpack else arithmetic.half_away(codes)
        return rounded - float(self.output.zero_point)

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        codes = tf.cast(values[0], tf.float64) + float(self.output.zero_point)
        wide = tf.einsum("jw,nhwc->nhjc", tf.stop_gradient(self.columns), codes)
        sums = tf.einsum("ih,nhjc->nijc", tf.stop_gradient(self.rows), wide)
        return rounded_and_clipped(sums, self._rounded, self.slope, self.low, self.high, gate)
