"""Operators that take a part of an activation: GATHER, SLICE, SPLIT, STRIDED_SLICE and UNPACK.

Bounds and places are constant, and all samples are kept.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator, Tensor
from qnn_robustness.quantization.integer_model.estimators import Gate
from qnn_robustness.quantization.integer_model.layer import Context, Layer, constant_integers

Index = tuple[slice | int, ...]  # what is taken along each axis; an axis with a number is dropped


class _Part(Layer):
    """The codes of the input [N, ...] at `index`."""

    def __init__(self, operator: Operator, context: Context, place: int = 0):
        super().__init__(operator, context, place)
        self.expect_kept_codes()
        self.index = self._index(self.inputs[0].shape)

    @abstractmethod
    def _index(self, shape: tuple[int, ...]) -> Index:
        """What is taken of an input of this shape."""

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return values[0][self.index]


class StridedSlice(_Part):
    """`StridedSlice`: begin, end and strides, with masks of bounds that do not count and of axes that are dropped."""

    def _index(self, shape: tuple[int, ...]) -> Index:
        operator, context = self.operator, self.context
        begin, end, strides = (constant_integers(operator, context, place, "bounds") for place in (1, 2, 3))
        context.expect(len(begin) == len(end) == len(strides) <= len(shape), operator, "has bounds of another rank")
        context.expect(0 not in strides, operator, "has a stride of 0")
        lacking = any(operator.options.get(name) for name in ("ellipsisMask", "newAxisMask", "offset"))
        context.expect(not lacking, operator, "has an ellipsis, a new axis or an offset")
        bounds = zip(begin, end, strides, strict=True)
        index = tuple(self._along(axis, triple, shape) for axis, triple in enumerate(bounds))
        context.expect(index[0] == slice(None, None, 1), operator, "cuts the batch")
        return index

    def _along(self, axis: int, bounds: tuple[int, int, int], shape: tuple[int, ...]) -> slice | int:
        (begin, end, stride), bit = bounds, 1 << axis
        options = self.operator.options
        free = bool(options.get("beginMask", 0) & bit) or (axis == 0 and (begin, stride) == (0, 1))
        if not options.get("shrinkAxisMask", 0) & bit:
            return slice(None if free else begin, None if options.get("endMask", 0) & bit else end, stride)
        start = 0 if free else begin
        fits = -shape[axis] <= start < shape[axis] and stride == 1
        self.context.expect(fits, self.operator, f"takes one of axis {axis} where there is none")
        return start


class Slice(_Part):
    """`Slice`: begin and size; the size -1 is all that is left."""

    def _index(self, shape: tuple[int, ...]) -> Index:
        operator, context = self.operator, self.context
        begin, sizes = (constant_integers(operator, context, place, "bounds") for place in (1, 2))
        context.expect(len(begin) == len(sizes) == len(shape), operator, "has bounds of another rank")
        context.expect((begin[0], sizes[0]) == (0, -1), operator, "cuts the batch")
        ends = np.where(np.equal(sizes, -1), shape, np.add(begin, sizes))
        fits = np.greater_equal(begin, 0) & np.less_equal(begin, ends) & (ends <= np.array(shape))
        context.expect(bool(fits[1:].all()), operator, f"has bounds beyond the shape {shape}")
        return (slice(None), *(slice(first, int(last)) for first, last in zip(begin[1:], ends[1:], strict=True)))


class Split(_Part):
    """`Split` into equal parts along any axis but the batch; each part is a layer."""

    @classmethod
    def layers(cls, operator: Operator, context: Context) -> list[Layer]:
        return [cls(operator, context, place) for place in range(len(operator.outputs))]

    @staticmethod
    def operands(operator: Operator) -> tuple[Tensor | None, ...]:
        return operator.inputs[1:2]

    def _index(self, shape: tuple[int, ...]) -> Index:
        given = constant_integers(self.operator, self.context, 0, "axis")
        rank, parts = len(shape), len(self.operator.outputs)
        axis = given[0] + rank if given[0] < 0 else given[0]
        self.context.expect(0 < axis < rank, self.operator, f"splits axis {given[0]}; only axes after the batch work")
        self.context.expect(shape[axis] % parts == 0, self.operator, f"splits {shape[axis]} into {parts} parts")
        size = shape[axis] // parts
        return (*[slice(None)] * axis, slice(self.place * size, (self.place + 1) * size))


class Unpack(_Part):
    """`Unpack` along any axis but the batch, which is dropped; each part is a layer."""

    @classmethod
    def layers(cls, operator: Operator, context: Context) -> list[Layer]:
        return [cls(operator, context, place) for place in range(len(operator.outputs))]

    def _index(self, shape: tuple[int, ...]) -> Index:
        given, rank = int(self.operator.options.get("axis", 0)), len(shape)
        axis = given + rank if given < 0 else given
        self.context.expect(0 < axis < rank, self.operator, f"splits axis {given}; only axes after the batch work")
        parts = len(self.operator.outputs)
        self.context.expect(shape[axis] == parts, self.operator, f"splits {shape[axis]} into {parts} parts")
        return (*[slice(None)] * axis, self.place)


class Gather(Layer):
    """`Gather` of constant places along any axis but the batch."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.expect_kept_codes()
        given, rank = int(operator.options.get("axis", 0)), len(self.inputs[0].shape)
        self.axis = given + rank if given < 0 else given
        context.expect(0 < self.axis < rank, operator, f"takes of axis {given}; only axes after the batch work")
        context.expect(not operator.options.get("batchDims"), operator, "takes of each sample by itself")
        places = constant_integers(operator, context, 1, "places")
        fits = all(0 <= place < self.inputs[0].shape[self.axis] for place in places)
        context.expect(fits, operator, f"takes {places} of {self.inputs[0].shape[self.axis]}")
        self.places = np.reshape(places, operator.inputs[1].shape)

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.gather(values[0], self.places, axis=self.axis)
