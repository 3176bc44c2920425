"""Operators that move pixels between an image and the samples or the channels: what dilated convolutions are made of.

SPACE_TO_BATCH_ND turns a sample into several smaller ones, which the layers behind it take like any others, until
BATCH_TO_SPACE_ND puts them together.
"""

from __future__ import annotations

from abc import abstractmethod

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator
from qnn_robustness.quantization.integer_model.estimators import Gate
from qnn_robustness.quantization.integer_model.layer import Context, Layer, constant_integers


class _BatchSpacing(Layer):
    """Blocks of a constant shape, with an amount before and after each axis that is added or cut."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.expect_kept_codes()
        self.block = constant_integers(operator, context, 1, "blocks")
        amounts = constant_integers(operator, context, 2, "amounts")
        fits = 0 < len(self.block) < len(self.inputs[0].shape) and len(amounts) == 2 * len(self.block)
        context.expect(fits and min(self.block) > 0 and min(amounts) >= 0, operator, "has blocks that do not fit")
        self.amounts = np.reshape(amounts, (-1, 2))


class SpaceToBatch(_BatchSpacing):
    """`SpaceToBatchND`, padded with the zero point."""

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.space_to_batch(values[0], self.block, self.amounts)


class BatchToSpace(_BatchSpacing):
    """`BatchToSpaceND`."""

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return tf.batch_to_space(values[0], self.block, self.amounts)


class _DepthSpacing(Layer):
    """Square blocks of pixels as channels."""

    def __init__(self, operator: Operator, context: Context):
        super().__init__(operator, context)
        self.expect_kept_codes()
        self.size = int(operator.options.get("blockSize", 0))
        context.expect(len(self.inputs[0].shape) == 4 and self.size > 0, operator, "has blocks that do not fit")

    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        return values[0] if self.size == 1 else self.moved(values[0])

    @abstractmethod
    def moved(self, x: tf.Tensor) -> tf.Tensor:
        """Return the moved codes for blocks of more than one pixel."""


class SpaceToDepth(_DepthSpacing):
    """`SpaceToDepth`."""

    def moved(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.space_to_depth(x, self.size)


class DepthToSpace(_DepthSpacing):
    """`DepthToSpace`."""

    def moved(self, x: tf.Tensor) -> tf.Tensor:
        return tf.nn.depth_to_space(x, self.size)
