"""A float32 .tflite network rebuilt in Keras: the same function, with gradients, that can be quantized anew."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import keras
import numpy as np
from keras import layers

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import Graph, Operator, Tensor, read_graph
from qnn_robustness.quantization.importing import float_functions
from qnn_robustness.quantization.importing.float_blocks import Blocks, in_blocks, on_blocks, whole
from qnn_robustness.quantization.integer_model.operators import on_shapes
from qnn_robustness.quantization.integer_model.sizes import sizes
from qnn_robustness.quantization.tflite_model import TFLiteModel
from qnn_robustness.quantization.trial import try_out

KERNELS = "builtin"  # the reference ones lack ELU
TOLERANCE = 1e-4  # of outputs, relative to the largest
PROBES = 16
_PADDINGS = {0: "same", 1: "valid"}
_ACTIVATIONS = {0: None, 1: "relu", 2: "hard_tanh", 3: "relu6"}


Affine = Callable[[np.ndarray, bool], tuple[Any, Any]]  # (constant, whether it is first) -> factor and offset


class _Unsupported(Exception):
    """Why an operator cannot be rebuilt."""


def rebuild(path: str | Path) -> keras.Model:
    """Return the network of a float32 .tflite file, after comparing it with the TFLite interpreter on random inputs.

    Raises UserError, with one line, for a damaged file, an operator that is not rebuilt, or another result.
    """
    try_out(path, [KERNELS])
    network = _built(_with_plain_constants(read_graph(path)))
    probes = np.random.default_rng(0).normal(size=(PROBES, *network.input_shape[1:])).astype(np.float32)
    expected = TFLiteModel(path, KERNELS).run(probes)
    given = network(probes).numpy().reshape(expected.shape)
    error = np.abs(given - expected).max() / max(np.abs(expected).max(), 1e-30)
    if not error < TOLERANCE:
        raise UserError(
            f"{path}: the rebuilt network differs from the TFLite interpreter by {error:.2g}; give the .keras file"
        )
    return network


def _with_plain_constants(graph: Graph) -> Graph:
    """Return a graph without the operators that turn constants stored in fewer bits into float32."""
    plain: dict[int, Tensor] = {}
    operators = []
    for operator in graph.operators:
        inputs = tuple(tensor and plain.get(tensor.index, tensor) for tensor in operator.inputs)
        if operator.name == "DEQUANTIZE" and inputs[0] is not None and inputs[0].data is not None:
            target = operator.outputs[0]
            plain[target.index] = replace(target, data=_dequantized(inputs[0]))
        else:
            operators.append(replace(operator, inputs=inputs))
    return replace(graph, operators=tuple(operators))


def _dequantized(tensor: Tensor) -> np.ndarray:
    if not len(tensor.scales):  # float16
        return tensor.data.astype(np.float32)
    shape = [1] * tensor.data.ndim
    shape[tensor.axis] = len(tensor.scales)
    codes = tensor.data.astype(np.int64) - tensor.zero_points.reshape(shape)
    return codes.astype(np.float32) * tensor.scales.reshape(shape)


def _built(graph: Graph) -> keras.Model:
    source, target = graph.inputs[0], graph.outputs[0]
    image = keras.Input(source.shape[1:])
    values: dict[int, Any] = {source.index: image}
    known: dict[int, Tensor] = {}  # with shapes, and sizes, that a file may leave open
    for given in graph.operators:
        operator = replace(given, inputs=tuple(t and known.get(t.index, t) for t in given.inputs))
        if on_shapes(operator):
            known[operator.outputs[0].index] = replace(operator.outputs[0], data=sizes(operator))
            continue
        try:
            if operator.name not in _BUILDERS:
                raise _Unsupported(f"is not supported; supported: {', '.join(sorted(_BUILDERS))}")
            if any(t is not None and t.type not in ("BOOL", "FLOAT32", "INT32", "INT64") for t in operator.inputs):
                raise _Unsupported("mixes float32 with integers")
            inputs = [values[t.index] for t in operator.inputs if t is not None and t.index in values]
            if not inputs:
                raise _Unsupported("has no input that is an activation")
            result = _made(operator, inputs)
        except (_Unsupported, ValueError, TypeError, IndexError, AttributeError) as error:
            reason = str(error) if isinstance(error, _Unsupported) else " ".join(str(error).split())[:160]
            raise UserError(f"{graph.path}: {operator}: {reason}; give the .keras file instead") from error
        results = result if isinstance(result, list) else [result]
        for tensor, value in zip(operator.outputs, results, strict=True):
            values[tensor.index] = value
            if not isinstance(value, Blocks):
                known[tensor.index] = replace(tensor, shape=(1, *value.shape[1:]))
    if target.index not in values:
        raise UserError(f"{graph.path}: no operator writes the output; convert the model again")
    return keras.Model(image, values[target.index])


def _made(operator: Operator, inputs: list[Any]) -> Any:
    first = inputs[0]
    if not isinstance(first, Blocks):
        return _BUILDERS[operator.name](operator, *inputs)
    if operator.name == "BATCH_TO_SPACE_ND":
        return whole(first, _constant(operator, 1).tolist(), _constant(operator, 2).tolist())
    return on_blocks(operator, first, _BUILDERS[operator.name])


def _outside_blocks(operator: Operator, *_: Any) -> Any:
    raise _Unsupported("has no SPACE_TO_BATCH_ND before it")


def _to_blocks(operator: Operator, value: Any) -> Blocks:
    return in_blocks(value, _constant(operator, 1).tolist(), _constant(operator, 2).tolist())


def _constant(operator: Operator, position: int) -> np.ndarray:
    tensor = operator.inputs[position] if position < len(operator.inputs) else None
    if tensor is None or tensor.data is None:
        raise _Unsupported(f"input {position} is no constant")
    return tensor.data


def _bias(operator: Operator, filters: int) -> np.ndarray:
    has_bias = len(operator.inputs) > 2 and operator.inputs[2] is not None
    return _constant(operator, 2) if has_bias else np.zeros(filters, np.float32)


def _activation(operator: Operator) -> str | None:
    code = operator.options.get("fusedActivationFunction", 0)
    if code not in _ACTIVATIONS:
        raise _Unsupported(f"fused activation {code}")
    return _ACTIVATIONS[code]


def _activated(operator: Operator, value: Any) -> Any:
    name = _activation(operator)
    return value if name is None else layers.Activation(name)(value)


def _with_weights(layer: layers.Layer, value: Any, *weights: np.ndarray) -> Any:
    result = layer(value)
    layer.set_weights(weights)
    return result


def _window(operator: Operator) -> dict[str, Any]:
    options = operator.options
    return {"strides": (options["strideH"], options["strideW"]), "padding": _PADDINGS[options["padding"]]}


def _dilation(operator: Operator) -> dict[str, Any]:
    return {"dilation_rate": (operator.options["dilationHFactor"], operator.options["dilationWFactor"])}


def _conv(operator: Operator, value: Any) -> Any:
    kernel = _constant(operator, 1).transpose(1, 2, 3, 0)
    layer = layers.Conv2D(
        kernel.shape[3],
        kernel.shape[:2],
        groups=value.shape[-1] // kernel.shape[2],
        activation=_activation(operator),
        **_window(operator),
        **_dilation(operator),
    )
    return _with_weights(layer, value, kernel, _bias(operator, kernel.shape[3]))


def _transpose_conv(operator: Operator, value: Any) -> Any:
    kernel = _constant(operator, 1).transpose(1, 2, 0, 3)
    layer = layers.Conv2DTranspose(
        kernel.shape[2], kernel.shape[:2], activation=_activation(operator), **_window(operator)
    )
    has_bias = len(operator.inputs) > 3 and operator.inputs[3] is not None
    bias = _constant(operator, 3) if has_bias else np.zeros(kernel.shape[2], np.float32)
    result = _with_weights(layer, value, kernel, bias)
    output = operator.outputs[0]
    if not output.open and result.shape[1:] != output.shape[1:]:
        raise _Unsupported(f"gives images of {output.shape[1:3]}, where its stride and window give {result.shape[1:3]}")
    return result


def _prelu(operator: Operator, value: Any) -> Any:
    slopes = _constant(operator, 1)
    slopes = slopes.reshape(*[1] * (len(value.shape) - 1 - slopes.ndim), *slopes.shape)
    return _with_weights(layers.PReLU(shared_axes=[i + 1 for i, n in enumerate(slopes.shape) if n == 1]), value, slopes)


def _depthwise(operator: Operator, value: Any) -> Any:
    weights, channels = _constant(operator, 1), value.shape[-1]
    kernel = weights.reshape(*weights.shape[1:3], channels, -1)
    layer = layers.DepthwiseConv2D(
        kernel.shape[:2],
        depth_multiplier=kernel.shape[3],
        activation=_activation(operator),
        **_window(operator),
        **_dilation(operator),
    )
    return _with_weights(layer, value, kernel, _bias(operator, weights.shape[3]))


def _dense(operator: Operator, value: Any) -> Any:
    weights = _constant(operator, 1)
    if len(value.shape) > 2 and weights.shape[1] != value.shape[-1]:
        value = layers.Flatten()(value)
    layer = layers.Dense(weights.shape[0], activation=_activation(operator))
    return _with_weights(layer, value, weights.T, _bias(operator, weights.shape[0]))


def _pair(kind: type[layers.Layer], affine: Affine, function: Callable[..., Any]) -> Callable[..., Any]:
    """Return the builder of an operator on two operands; `affine` says what one does to the other as a constant.

    `function` is the same on arrays, for constants that are neither one number nor one for each channel.
    """

    def build(operator: Operator, *values: Any) -> Any:
        if len(values) == 2:
            return _activated(operator, kind()(list(values)))
        position = next(i for i, tensor in enumerate(operator.inputs) if tensor.data is not None)
        (value,), constant = values, operator.inputs[position].data
        channels = value.shape[-1]
        for_channels = constant.shape[-1:] == (channels,) and constant.size == channels
        if not 1 < len(value.shape) < 5 or not (for_channels or constant.size == 1):
            return _activated(operator, float_functions.applied(function, operator, values))
        factor, offset = (np.broadcast_to(part, channels) for part in affine(constant.ravel(), position == 0))
        layer, shape = layers.DepthwiseConv2D(1, activation=_activation(operator)), value.shape[1:]
        weights = factor.reshape(1, 1, channels, 1), offset
        if len(shape) == 3:
            return _with_weights(layer, value, *weights)
        image = layers.Reshape((*shape[:-1], *[1] * (3 - len(shape)), channels))(value)
        return layers.Reshape(shape)(_with_weights(layer, image, *weights))

    return build


def _function(function: Callable[..., Any]) -> Callable[..., Any]:
    def build(operator: Operator, *values: Any) -> Any:
        return _activated(operator, float_functions.applied(function, operator, values))

    return build


def _concatenation(operator: Operator, *values: Any) -> Any:
    if len(values) != len(operator.inputs):
        raise _Unsupported("joins a constant")
    return _activated(operator, layers.Concatenate(operator.options["axis"])(list(values)))


def _pool(kind: type[layers.Layer]) -> Callable[[Operator, Any], Any]:
    def build(operator: Operator, value: Any) -> Any:
        size = (operator.options["filterHeight"], operator.options["filterWidth"])
        return _activated(operator, kind(size, **_window(operator))(value))

    return build


def _reduced(function: Callable[..., Any], images: type[layers.Layer] | None = None) -> Callable[[Operator, Any], Any]:
    """Return the builder of a reduction; `images` is the layer that does it over height and width."""

    def build(operator: Operator, value: Any) -> Any:
        rank, keep = len(value.shape), bool(operator.options.get("keepDims"))
        axes = sorted(int(axis) % rank for axis in _constant(operator, 1).ravel())
        if 0 in axes:
            raise _Unsupported("reduces the batch")
        if images is not None and rank == 4 and axes == [1, 2]:
            return images(keepdims=keep)(value)
        return function(value, axis=axes, keepdims=keep)

    return build


def _leaky(operator: Operator, value: Any) -> Any:
    return layers.LeakyReLU(negative_slope=float(operator.options.get("alpha", 0)))(value)


def _pad(operator: Operator, value: Any) -> Any:
    amounts, number = _constant(operator, 1).tolist(), 0.0
    if len(operator.inputs) > 2:
        number = float(_constant(operator, 2).ravel()[0])
    if amounts[0] != [0, 0]:
        raise _Unsupported("pads the batch")
    if len(amounts) == 4 and amounts[3] == [0, 0] and number == 0:
        return layers.ZeroPadding2D(amounts[1:3])(value)
    return keras.ops.pad(value, amounts, constant_values=number)


def _transpose(operator: Operator, value: Any) -> Any:
    order = _constant(operator, 1).ravel().tolist()
    if order[0] != 0:
        raise _Unsupported("moves the batch")
    return layers.Permute(order[1:])(value)


def _cropped(operator: Operator, value: Any) -> Any:
    begin, end, strides = (_constant(operator, place).ravel().tolist() for place in (1, 2, 3))
    masks = {name: operator.options.get(name, 0) for name in ("beginMask", "endMask")}
    others = [operator.options.get(name) for name in ("shrinkAxisMask", "newAxisMask", "ellipsisMask", "offset")]
    if len(begin) != 4 or any(stride != 1 for stride in strides) or any(others):
        raise _Unsupported("takes more or less than a part of images")
    cuts = []
    for axis, size in enumerate(value.shape):
        first = 0 if masks["beginMask"] >> axis & 1 else begin[axis]
        last = None if masks["endMask"] >> axis & 1 else end[axis]
        if axis in (1, 2):
            first, last, _ = slice(first, last).indices(size)
            cuts.append((first, size - last))
        elif first != 0 or last not in (None, size):
            raise _Unsupported("cuts the batch or the channels")
    return layers.Cropping2D(cuts)(value)


def _split(operator: Operator, value: Any) -> list[Any]:
    axis = int(_constant(operator, 0).ravel()[0]) % len(value.shape)
    return keras.ops.split(value, len(operator.outputs), axis)


def _resized(interpolation: str) -> Callable[[Operator, Any], Any]:
    def build(operator: Operator, value: Any) -> Any:
        if operator.options.get("alignCorners") or not operator.options.get("halfPixelCenters"):
            raise _Unsupported("does not align the centers of pixels")
        return layers.Resizing(*_constant(operator, 1).ravel().tolist(), interpolation=interpolation)(value)

    return build


def _reshape(operator: Operator, value: Any) -> Any:
    output: Tensor = operator.outputs[0]
    shape = output.shape[1:]
    if output.open and len(operator.inputs) > 1 and operator.inputs[1].data is not None:
        shape = tuple(np.ravel(operator.inputs[1].data).tolist()[1:])
    merged = np.prod(shape) != np.prod(value.shape[1:]) and shape[-1:] == value.shape[-1:]
    if merged or shape == value.shape[1:]:  # for a dense layer, which here takes the last axis of any number
        return value
    return layers.Reshape(shape)(value)


_BUILDERS: dict[str, Callable[..., Any]] = {
    **{name: _function(function) for name, function in float_functions.FUNCTIONS.items()},
    "ADD": _pair(layers.Add, lambda constant, _: (1.0, constant), keras.ops.add),
    "AVERAGE_POOL_2D": _pool(layers.AveragePooling2D),
    "BATCH_MATMUL": float_functions.product,
    "BATCH_TO_SPACE_ND": _outside_blocks,
    "CONCATENATION": _concatenation,
    "CONV_2D": _conv,
    "DEPTHWISE_CONV_2D": _depthwise,
    "EXPAND_DIMS": _reshape,
    "FULLY_CONNECTED": _dense,
    "GATHER": float_functions.gathered,
    "GELU": lambda operator, value: keras.ops.gelu(value, bool(operator.options.get("approximate"))),
    "HARD_SWISH": lambda _, value: layers.Activation("hard_swish")(value),
    "LEAKY_RELU": _leaky,
    "LOGISTIC": lambda _, value: layers.Activation("sigmoid")(value),
    "MAX_POOL_2D": _pool(layers.MaxPooling2D),
    "MEAN": _reduced(keras.ops.mean, layers.GlobalAveragePooling2D),
    "MUL": _pair(layers.Multiply, lambda constant, _: (constant, 0.0), keras.ops.multiply),
    "PACK": float_functions.packed,
    "PAD": _pad,
    "PADV2": _pad,
    "PRELU": _prelu,
    "REDUCE_MAX": _reduced(keras.ops.max, layers.GlobalMaxPooling2D),
    "REDUCE_MIN": _reduced(keras.ops.min),
    "RELU": lambda _, value: layers.ReLU()(value),
    "RELU6": lambda _, value: layers.ReLU(max_value=6.0)(value),
    "RESHAPE": _reshape,
    "RESIZE_BILINEAR": _resized("bilinear"),
    "RESIZE_NEAREST_NEIGHBOR": _resized("nearest"),
    "REVERSE_V2": float_functions.reversed_axes,
    "SLICE": float_functions.taken,
    "SPACE_TO_BATCH_ND": _to_blocks,
    "SOFTMAX": lambda _, value: layers.Softmax()(value),
    "SPLIT": _split,
    "SQUEEZE": _reshape,
    "STRIDED_SLICE": _cropped,
    "SUB": _pair(
        layers.Subtract,
        lambda constant, first: (-1.0, constant) if first else (1.0, -constant),
        keras.ops.subtract,
    ),
    "SUM": _reduced(keras.ops.sum),
    "TANH": lambda _, value: layers.Activation("tanh")(value),
    "TILE": float_functions.tiled,
    "TRANSPOSE": _transpose,
    "TRANSPOSE_CONV": _transpose_conv,
    "UNPACK": float_functions.unpacked,
}
