"""CONV_2D, DEPTHWISE_CONV_2D and TRANSPOSE_CONV."""

from __future__ import annotations

from abc import abstractmethod
from dataclasses import replace

import numpy as np
import tensorflow as tf

from qnn_robustness.quantization.flatbuffer import Operator
from qnn_robustness.quantization.integer_model.layer import PADDINGS, Context, same_padding
from qnn_robustness.quantization.integer_model.linear import LinearLayer

_LARGEST_FILTER = 2**26  # weights of a layer, with the zeros that dilation inserts


class _Convolution(LinearLayer):
    """What both convolutions share: strides, padding, and dilation by inserting zeros into the filter."""

    def __init__(self, operator: Operator, context: Context):
        options = operator.options
        self.strides = (int(options.get("strideH", 0)), int(options.get("strideW", 0)))
        dilations = (int(options.get("dilationHFactor", 1)), int(options.get("dilationWFactor", 1)))
        context.expect(min(self.strides + dilations) > 0, operator, "has a stride or dilation below 1")
        context.expect(options.get("padding") in PADDINGS, operator, "has an unknown padding")
        self.padding, self.dilations = PADDINGS[options["padding"]], dilations
        context.expect(
            len(operator.inputs) > 1
            and operator.inputs[1] is not None
            and len(operator.inputs[1].shape) == 4
            and len(operator.inputs[0].shape) == 4,
            operator,
            "needs an input and weights of 4 dimensions",
        )
        super().__init__(operator, context)

    def _dilated(self, filters: np.ndarray) -> np.ndarray:
        (step_h, step_w), (height, width) = self.dilations, filters.shape[:2]
        size = filters.size * float(step_h) * float(step_w)
        reason = f"has filters too large for dilations {self.dilations}"
        self.context.expect(size < _LARGEST_FILTER, self.operator, reason)
        dilated = np.zeros(((height - 1) * step_h + 1, (width - 1) * step_w + 1, *filters.shape[2:]), filters.dtype)
        dilated[::step_h, ::step_w] = filters
        return dilated

    @abstractmethod
    def convolve(self, x: tf.Tensor, weights: tf.Tensor, stride: int, padding: str) -> tf.Tensor:
        """TensorFlow's convolution with equal strides."""

    def linear(self, x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        step_h, step_w = self.strides
        if step_h == step_w:
            return self.convolve(x, weights, step_h, self.padding)
        # Depthwise convolutions refuse unequal strides, and oneDNN's others are wrong for some (stride (1,
        # 3), one input channel, one output column): pad by hand, convolve densely and drop what lies in
        # between.
        if self.padding == "SAME":
            sizes, kernel = self.inputs[0].shape[1:3], self.filter_values.shape[:2]
            pads = [same_padding(*triple) for triple in zip(sizes, kernel, self.strides, strict=True)]
            x = tf.pad(x, [[0, 0], *pads, [0, 0]])
        return self.convolve(x, weights, 1, "VALID")[:, ::step_h, ::step_w]


class Conv2D(_Convolution):
    """`ConvPerChannel`: int8 with an int32 accumulator; 16x8 with int64 (int32 when the bias is int32).

    Groups of channels have fewer input channels in the weights than the input has. The built-in kernels leave them to
    the reference kernel.
    """

    def _arranged(self, weights: np.ndarray) -> np.ndarray:
        channels, (outputs, _, _, read) = self.inputs[0].shape[3], weights.shape
        self.groups = channels // max(read, 1)
        self.context.expect(
            self.groups > 0 and self.groups * read == channels and outputs % self.groups == 0,
            self.operator,
            f"weights of shape {weights.shape} do not fit {channels} input channels",
        )
        return self._dilated(weights.transpose(1, 2, 3, 0))

    def _rounding(self) -> str:
        return super()._rounding() if self.groups == 1 else "away"

    def convolve(self, x: tf.Tensor, weights: tf.Tensor, stride: int, padding: str) -> tf.Tensor:
        if self.groups == 1:
            return tf.nn.conv2d(x, weights, stride, padding)
        # TensorFlow has no gradient of grouped convolutions on processors.
        parts = zip(tf.split(x, self.groups, 3), tf.split(weights, self.groups, 3), strict=True)
        return tf.concat([tf.nn.conv2d(part, filters, stride, padding) for part, filters in parts], 3)


class DepthwiseConv2D(_Convolution):
    """`DepthwiseConvPerChannel`; output channel c * depth_multiplier + m reads input channel c."""

    channel_axis = 3
    int16_bias_types = ("INT64",)
    vector = 8

    def _arranged(self, weights: np.ndarray) -> np.ndarray:
        channels = self.inputs[0].shape[3]
        self.context.expect(
            weights.shape[0] == 1 and channels > 0 and weights.shape[3] % channels == 0,
            self.operator,
            f"weights of shape {weights.shape} do not fit {channels} input channels",
        )
        return self._dilated(weights[0].reshape(*weights.shape[1:3], channels, -1))

    def convolve(self, x: tf.Tensor, weights: tf.Tensor, stride: int, padding: str) -> tf.Tensor:
        if weights.shape[2] == 1:
            # The same map; oneDNN confuses the two primitives when both occur with equal sizes in one
            # process.
            return tf.nn.conv2d(x, weights, stride, padding)
        return tf.nn.depthwise_conv2d(x, weights, [1, stride, stride, 1], padding)


class TransposeConv(LinearLayer):
    """`TransposeConv`, `TransposeConvV2`: each input pixel times the filter is added to the output around it."""

    vector = 8

    def __init__(self, operator: Operator, context: Context):
        options, inputs = operator.options, operator.inputs
        self.strides = (int(options.get("strideH", 0)), int(options.get("strideW", 0)))
        context.expect(min(self.strides) > 0, operator, "has a stride below 1")
        context.expect(options.get("padding") in PADDINGS, operator, "has an unknown padding")
        self.padding = PADDINGS[options["padding"]]
        images = len(inputs) > 2 and all(tensor is not None and len(tensor.shape) == 4 for tensor in inputs[1:3])
        context.expect(images, operator, "needs an input and weights of 4 dimensions")
        constant = inputs[0] is None or inputs[0].data is not None
        context.expect(not constant, operator, "has a constant shape of its output, which fixes the number of samples")
        # The other operators with weights have them behind the input, and no shape of the output before it. XNNPACK
        # takes constant shapes alone.
        plain = replace(operator, inputs=(inputs[2], inputs[1], *inputs[3:]))
        super().__init__(plain, context.left_to_built_in())

    def _arranged(self, weights: np.ndarray) -> np.ndarray:
        source, kernel = self.inputs[0].shape, weights.shape[1:3]
        reason = f"weights of shape {weights.shape} do not fit {source[3]} input channels"
        self.context.expect(weights.shape[3] == source[3], self.operator, reason)
        starts = [
            size if self.padding == "SAME" else size - k + 1
            for size, k in zip(self.output.shape[1:3], kernel, strict=True)
        ]
        read = tuple(-(-start // step) for start, step in zip(starts, self.strides, strict=True))
        self.context.expect(read == source[1:3], self.operator, f"makes {self.output.shape} of {source}")
        return weights.transpose(1, 2, 3, 0)

    def linear(self, x: tf.Tensor, weights: tf.Tensor) -> tf.Tensor:
        weights, (step_h, step_w) = tf.transpose(weights, (0, 1, 3, 2)), self.strides
        batch, (height, width, channels) = tf.shape(x)[0], self.output.shape[1:]
        if step_h == step_w:
            return tf.nn.conv2d_transpose(x, weights, [batch, height, width, channels], step_h, self.padding)
        # As in convolutions, oneDNN is not to be trusted with unequal strides: put zeros between the pixels.
        rows, columns, depth = self.inputs[0].shape[1:]
        gaps = [[0, 0], [0, 0], [0, step_h - 1], [0, 0], [0, step_w - 1], [0, 0]]
        spread = tf.reshape(tf.pad(x[:, :, None, :, None], gaps), [-1, rows * step_h, columns * step_w, depth])
        kernel = self.filter_values.shape[:2]
        size = [batch, rows * step_h + kernel[0] - 1, columns * step_w + kernel[1] - 1, channels]
        full = tf.nn.conv2d_transpose(spread, weights, size, 1, "VALID")
        top = left = 0
        if self.padding == "SAME":
            top, left = (same_padding(*triple)[0] for triple in zip((height, width), kernel, self.strides, strict=True))
        return full[:, top : top + height, left : left + width]
