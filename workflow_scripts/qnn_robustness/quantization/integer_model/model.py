"""The integer model: a .tflite network as a differentiable TensorFlow function, exact in its forward pass."""

from __future__ import annotations

import platform
from collections.abc import Callable, Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import tensorflow as tf

from qnn_robustness.common.errors import UserError, did_you_mean
from qnn_robustness.quantization.flatbuffer import Graph, Operator, Tensor, ending, flat_shape, read_graph
from qnn_robustness.quantization.integer_model import operators
from qnn_robustness.quantization.integer_model.addition import Add, Sub
from qnn_robustness.quantization.integer_model.arithmetic import variable
from qnn_robustness.quantization.integer_model.choices import Comparison, Div, Select
from qnn_robustness.quantization.integer_model.convolutions import Conv2D, DepthwiseConv2D, TransposeConv
from qnn_robustness.quantization.integer_model.estimators import Gate, gate_named, rounded_and_clipped, unclipped
from qnn_robustness.quantization.integer_model.islands import FloatFunctions, Island, with_islands
from qnn_robustness.quantization.integer_model.layer import LIMITS, Context, Layer, centered_limits
from qnn_robustness.quantization.integer_model.linear import FullyConnected
from qnn_robustness.quantization.integer_model.moving import (
    Concatenation,
    ExpandDims,
    Fill,
    MirrorPad,
    Pack,
    Pad,
    Requantize,
    Reshape,
    Reverse,
    Squeeze,
    Tile,
    Transpose,
    rounding_of_floats,
)
from qnn_robustness.quantization.integer_model.pairs import Maximum, Minimum, Mul, Prelu, SquaredDifference
from qnn_robustness.quantization.integer_model.pooling import AveragePool2D, MaxPool2D, Mean, ReduceMax, ReduceMin, Sum
from qnn_robustness.quantization.integer_model.products import BatchMatMul
from qnn_robustness.quantization.integer_model.resizing import ResizeBilinear, ResizeNearestNeighbor
from qnn_robustness.quantization.integer_model.sizes import sizes
from qnn_robustness.quantization.integer_model.slicing import Gather, Slice, Split, StridedSlice, Unpack
from qnn_robustness.quantization.integer_model.softmax import InnerSoftmax, Softmax
from qnn_robustness.quantization.integer_model.spacing import BatchToSpace, DepthToSpace, SpaceToBatch, SpaceToDepth
from qnn_robustness.quantization.integer_model.steps import with_samples_in_front
from qnn_robustness.quantization.integer_model.tables import Table

LAYERS: dict[str, type[Layer]] = {
    "ABS": Table,
    "ADD": Add,
    "AVERAGE_POOL_2D": AveragePool2D,
    "BATCH_MATMUL": BatchMatMul,
    "BATCH_TO_SPACE_ND": BatchToSpace,
    "CONCATENATION": Concatenation,
    "CONV_2D": Conv2D,
    "DEPTHWISE_CONV_2D": DepthwiseConv2D,
    "DEPTH_TO_SPACE": DepthToSpace,
    "DIV": Div,
    "ELU": Table,
    "EQUAL": Comparison,
    "EXP": Table,
    "EXPAND_DIMS": ExpandDims,
    "FILL": Fill,
    "FULLY_CONNECTED": FullyConnected,
    "GATHER": Gather,
    "GELU": Table,
    "GREATER": Comparison,
    "GREATER_EQUAL": Comparison,
    "HARD_SWISH": Table,
    "LEAKY_RELU": Table,
    "LESS": Comparison,
    "LESS_EQUAL": Comparison,
    "LOG": Table,
    "LOGISTIC": Table,
    "MAXIMUM": Maximum,
    "MAX_POOL_2D": MaxPool2D,
    "MEAN": Mean,
    "MINIMUM": Minimum,
    "MIRROR_PAD": MirrorPad,
    "MUL": Mul,
    "NOT_EQUAL": Comparison,
    "PACK": Pack,
    "PAD": Pad,
    "PADV2": Pad,
    "PRELU": Prelu,
    "QUANTIZE": Requantize,
    "REDUCE_MAX": ReduceMax,
    "REDUCE_MIN": ReduceMin,
    "RELU": Table,
    "RELU6": Table,
    "RELU_0_TO_1": Table,
    "RELU_N1_TO_1": Table,
    "RESHAPE": Reshape,
    "RESIZE_BILINEAR": ResizeBilinear,
    "RESIZE_NEAREST_NEIGHBOR": ResizeNearestNeighbor,
    "REVERSE_V2": Reverse,
    "RSQRT": Table,
    "SELECT": Select,
    "SELECT_V2": Select,
    "SLICE": Slice,
    "SOFTMAX": InnerSoftmax,
    "SPACE_TO_BATCH_ND": SpaceToBatch,
    "SPACE_TO_DEPTH": SpaceToDepth,
    "SPLIT": Split,
    "SQRT": Table,
    "SQUARED_DIFFERENCE": SquaredDifference,
    "SQUEEZE": Squeeze,
    "STRIDED_SLICE": StridedSlice,
    "SUB": Sub,
    "SUM": Sum,
    "TANH": Table,
    "TILE": Tile,
    "TRANSPOSE": Transpose,
    "TRANSPOSE_CONV": TransposeConv,
    "UNPACK": Unpack,
}
KERNELS = {"int8": ("reference", "builtin", "xnnpack"), "int16": ("reference", "builtin")}
_X86 = ("x86_64", "amd64", "i386", "i686", "x86")
_CONVERTED = ("FLOAT32", "UINT8")  # types of ends that a network of INT8 or INT16 may have
_UINT8_SHIFT = 128  # between the codes of UINT8 and those of INT8
_TRIED = 2  # samples of the first run, which tells one output for each sample from one for all
_BATCH = 256  # samples evaluated at a time: larger batches only take more memory


class IntegerModel:
    """A .tflite network of INT8 or INT16 activations, reproduced exactly and differentiably.

    Build it with `from_file`. Public attributes: `path`, `precision` (`int8` or `int16`), `kernels`,
    `estimator`, `input_shape` (H, W, C), `scaling`, `input_scale` (float32), `input_zero_point`,
    `output_scale`, `num_classes`.
    """

    def __init__(self, graph: Graph, kernels: str, estimator: str = "straight_through"):
        self.path, self.kernels, self.estimator = graph.path, kernels, estimator
        self.scaling = graph.scaling
        self._gate = gate_named(estimator)
        remaining = list(graph.operators)
        if len(graph.inputs) != 1 or len(graph.outputs) != 1:
            raise UserError(
                f"{graph.path}: has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; 1 each works"
            )
        self._ends = graph.inputs[0].type, graph.outputs[0].type
        self._context = Context(graph.path, kernels)
        self._input, self._output = self._strip_borders(graph, remaining)
        if self._input.type not in LIMITS or len(self._input.scales) != 1:
            raise UserError(
                f"{graph.path}: the input has type {self._input.type}; it needs a network quantized to "
                "INT8 or INT16 (for a float32 network attack the network itself)"
            )
        self.precision = self._input.type.lower()
        _check_kernels(graph.path, self.precision, kernels)
        operators.check_operators(graph)  # names the operator itself, not what the converter puts around it
        self._softmax = self._take_softmax(remaining)
        self._before_softmax = self._softmax.operator.inputs[0] if self._softmax else self._output
        self._logits = _before_logistic(remaining, self._output) or self._before_softmax
        self.layers = self._build(remaining)
        self.input_shape = self._input.shape[1:]
        self.input_scale, self.input_zero_point = self._input.scale, self._input.zero_point
        self.output_scale = self._output.scale
        self.num_classes, self._flat = int(self._output.shape[-1]), flat_shape(self._output.shape[1:])
        self._unit = [variable(value) for value in (self.scaling.gain, self.scaling.offset)]
        self._rounded_input = rounding_of_floats(self._input, kernels if self._ends[0] == "FLOAT32" else None)
        signature = [tf.TensorSpec((None, *self.input_shape), tf.float32)]
        self._centered_end = tf.function(lambda x: self._run(x)[self._before_softmax.index], input_signature=signature)
        self._all_activations = tf.function(self._run, input_signature=signature)
        self._float_logits = tf.function(self.logits, input_signature=signature)
        self._centered_input = tf.function(self._quantize_centered, input_signature=signature)

    @classmethod
    def from_file(
        cls, path: str | Path, kernels: str = "reference", estimator: str = "straight_through"
    ) -> IntegerModel:
        """Build the model of a .tflite file.

        kernels: `reference` (the arithmetic of microcontrollers), `builtin` (TFLite's optimised kernels
        without delegate, x86) or `xnnpack` (TFLite's default on x86; int8 only). estimator:
        `straight_through` or `smooth`.

        Raises UserError for a damaged file, an unknown kernel set or estimator, and for an operator or type
        that is not reproduced (named with its position).
        """
        return cls(read_graph(path), kernels, estimator)

    # -- building ----------------------------------------------------------------------------------

    def _strip_borders(self, graph: Graph, remaining: list[Operator]) -> tuple[Tensor, Tensor]:
        """Take the conversion off an input and an output of FLOAT32 or UINT8; return the integer ends between them."""
        source, target = graph.inputs[0], graph.outputs[0]
        if source.type in _CONVERTED:
            takers = [operator for operator in remaining if source in operator.inputs]
            if source.type == "UINT8" and all(taker.name != "QUANTIZE" for taker in takers):
                raise UserError(f"{graph.path}: computes in UINT8; the integer model does in INT8 or INT16")
            if len(takers) != 1 or takers[0].name != "QUANTIZE" or not _convert(source, takers[0].outputs[0]):
                raise UserError(
                    f"{graph.path}: the {source.type} input is not converted first; the integer model needs one "
                    "quantized to INT8 or INT16 (for a float32 network attack the network itself)"
                )
            remaining.remove(takers[0])
            source = takers[0].outputs[0]
        if target.type in _CONVERTED:
            makers = [operator for operator in remaining if target in operator.outputs]
            if len(makers) != 1 or makers[0].name not in ("DEQUANTIZE", "QUANTIZE") or not makers[0].inputs[0]:
                raise UserError(f"{graph.path}: the {target.type} output does not come from an integer tensor")
            if not _convert(target, makers[0].inputs[0]):
                raise self._context.refuse(makers[0], "changes the scale of the output; convert the model again")
            remaining.remove(makers[0])
            target = makers[0].inputs[0]
        return source, target

    def _take_softmax(self, remaining: list[Operator]) -> Softmax | None:
        last = ending(remaining, self._output)
        if not last or last[-1].name != "SOFTMAX":
            return None
        for operator in last:
            remaining.remove(operator)
        self._output = last[-1].outputs[0]
        return Softmax(last[-1], self._context)

    def _build(self, remaining: list[Operator]) -> list[Layer]:
        """Build each layer and run it once: in a damaged file shapes do not fit, or layers read what is not there."""
        layers, values = [], {self._input.index: tf.zeros((_TRIED, *self._input.shape[1:]))}
        known: dict[int, Tensor] = {}
        joined = with_samples_in_front(with_islands(remaining))
        for operator in (self._with_known_shapes(operator, known) for operator in joined):
            if operators.on_shapes(operator):
                known[operator.outputs[0].index] = replace(operator.outputs[0], data=sizes(operator))
                continue
            try:
                for layer in self._layers(operator):
                    layers.append(layer)
                    values[layer.output.index] = value = self._tried(layer, values)
                    shape = (len(value) * self._input.shape[0] // _TRIED, *value.shape[1:])
                    known[layer.output.index] = replace(layer.output, shape=shape)
            except UserError:
                raise
            except Exception as error:  # NumPy and TensorFlow raise whatever they stumble over
                reason = f"{type(error).__name__}: {error}"[:200]
                raise self._context.refuse(operator, f"cannot be run ({reason})") from error
        if self._before_softmax.index not in values:
            raise UserError(f"{self.path}: no operator writes the output; convert the model again")
        if (rows := len(values[self._before_softmax.index])) != _TRIED:
            raise UserError(f"{self.path}: gives {rows} outputs for {_TRIED} samples; convert the model again")
        return layers

    def _with_known_shapes(self, operator: Operator, known: Mapping[int, Tensor]) -> Operator:
        """Return an operator whose inputs have the shapes, and are the sizes, that were found and a file may lack."""
        if (
            operator.name == "TRANSPOSE_CONV"
        ):  # whose output has as many samples as there are, whatever was found for one
            known = {index: tensor for index, tensor in known.items() if tensor.data is None}
        inputs = tuple(tensor and known.get(tensor.index, tensor) for tensor in operator.inputs)
        if operator.name == "FILL":  # which has as many samples as the input
            inputs = (self._input, *inputs)
        return replace(operator, inputs=inputs)

    def _layers(self, operator: Operator) -> list[Layer]:
        if isinstance(operator, Island):
            return [FloatFunctions(operator, self._context)]
        if operator.name not in LAYERS:
            raise operators.unsupported(self.path, operator)
        return LAYERS[operator.name].layers(operator, self._context)

    def _tried(self, layer: Layer, values: Mapping[int, tf.Tensor]) -> tf.Tensor:
        for tensor in layer.inputs:
            reason = f"reads tensor {tensor.index} before it is written"
            self._context.expect(tensor.index in values, layer.operator, reason)
        value = layer(self._gate, *(values[tensor.index] for tensor in layer.inputs))
        found, stated = tuple(value.shape[1:]), layer.output.shape[1:]
        fits = found == stated or layer.output.open
        self._context.expect(fits, layer.operator, f"gives the shape {found}; the file says {stated}")
        return value

    # -- running -----------------------------------------------------------------------------------

    def _run(self, centered: tf.Tensor, gate_of_scores: Gate | None = None) -> dict[int, tf.Tensor]:
        """Map the centered input to the centered value of each tensor."""
        values = {self._input.index: centered}
        for layer in self.layers:
            gate = gate_of_scores if gate_of_scores and layer.output is self._logits else self._gate
            values[layer.output.index] = layer(gate, *(values[tensor.index] for tensor in layer.inputs))
        return values

    def quantize(self, x: np.ndarray) -> np.ndarray:
        """Quantize float32 inputs [N, H, W, C]: clip(round(x / scale) + zero_point), as `logits` does and as the file.

        x is brought into the file's unit first. Halves are rounded to even; where the file quantizes a float32 input,
        as its kernel does it.
        """
        x = np.asarray(x, np.float32)
        parts = [self._centered_input(x[start : start + _BATCH]).numpy() for start in range(0, max(len(x), 1), _BATCH)]
        return (np.concatenate(parts) + self.input_zero_point).astype(self._input.type.lower())

    def _quantize_centered(self, x: tf.Tensor) -> tf.Tensor:
        low, high = centered_limits(self._input)
        gain, offset = self._unit
        if not self.scaling.is_identity:
            x = x[..., ::-1] if self.scaling.reverse else x
            x = x * gain + offset
        return rounded_and_clipped(x, self._rounded_input, np.float32(1) / self.input_scale, low, high, self._gate)

    def forward_quantized(self, q: Any) -> np.ndarray:
        """Map codes [N, H, W, C] (int8 or int16) to output codes [N, classes], byte for byte TFLite's."""
        codes = self._in_batches(self._centered_end, q) + self._before_softmax.zero_point
        codes = self._softmax(codes) if self._softmax else codes
        return codes.astype(self._output.type.lower()).reshape(-1, *self._flat)

    def activations(self, q: Any) -> dict[str, np.ndarray]:
        """Return the integer output of each layer for codes [N, H, W, C], in order.

        Keys are the names of the layers: `position operator` of the file, such as `3 ADD`, and for a further output of
        the operator its place, such as `3 SPLIT 1`. The values are int8 or int16, those of a comparison bool.
        """
        self._check_codes(q)
        values = self._all_activations(self._centered(q))
        result = {}
        for layer in self.layers:
            result[layer.name] = _stored(values[layer.output.index].numpy(), layer.output)
        if self._softmax:
            logits = values[self._logits.index].numpy().astype(np.int64) + self._logits.zero_point
            name = f"{self._softmax.operator.position} SOFTMAX"
            result[name] = self._softmax(logits).astype(self._output.type.lower())
        return result

    def logits(self, x: tf.Tensor, through_saturation: bool = False) -> tf.Tensor:
        """Map inputs [N, H, W, C] (float32, in the unit that `scaling` starts from) to float32 logits [N, classes].

        Exact and differentiable: the value is that of the integer network before a final softmax or logistic function,
        dequantized; the gradient is the estimator's. Works in eager mode and inside tf.function.

        The scores of samples that a network is sure of saturate, all at once if there are two classes, and have no
        gradient then. With `through_saturation` they have the one without limits, which leads an attack back.
        """
        gate_of_scores = unclipped if through_saturation else None
        values = self._run(self._quantize_centered(tf.convert_to_tensor(x, tf.float32)), gate_of_scores)
        return tf.reshape(values[self._logits.index] * self._logits.scale, [-1, *self._flat])

    def scores(self, x: np.ndarray) -> np.ndarray:
        """Map inputs [N, H, W, C] to the dequantized output [N, classes], with what ends the file; no gradient."""
        codes = self.forward_quantized(self.quantize(x)).astype(np.float32)
        return (codes - np.float32(self._output.zero_point)) * self.output_scale

    def as_file_input(self, q: np.ndarray) -> np.ndarray:
        """Return codes as the file's input tensor takes them: dequantized if that is float32."""
        if self._ends[0] == "FLOAT32":
            return (np.asarray(q, np.float32) - np.float32(self.input_zero_point)) * self.input_scale
        if self._ends[0] == "UINT8":
            return (np.asarray(q, np.int16) + _UINT8_SHIFT).astype(np.uint8)
        return np.asarray(q, self._input.type.lower())

    def as_output_codes(self, values: np.ndarray) -> np.ndarray:
        """Return the file's output tensor as codes."""
        if self._ends[1] == "FLOAT32":
            values = np.rint(np.asarray(values, np.float64) / self.output_scale) + self._output.zero_point
        elif self._ends[1] == "UINT8":
            values = np.asarray(values, np.int16) - _UINT8_SHIFT
        return values.astype(self._output.type.lower())

    def _check_codes(self, q: Any) -> None:
        if np.shape(q)[1:] != tuple(self.input_shape):
            raise UserError(f"{self.path}: samples have shape {np.shape(q)[1:]}; the network takes {self.input_shape}")

    def _centered(self, q: Any) -> tf.Tensor:
        return tf.cast(tf.convert_to_tensor(q), tf.float32) - float(self.input_zero_point)

    def _in_batches(self, function: Callable, q: Any) -> np.ndarray:
        self._check_codes(q)
        starts = range(0, max(len(q), 1), _BATCH)
        parts = [function(self._centered(q[start : start + _BATCH])).numpy() for start in starts]
        return np.concatenate(parts).astype(np.int64)


def _stored(centered: np.ndarray, tensor: Tensor) -> np.ndarray:
    """Return values as the file's tensor has them."""
    if tensor.type == "BOOL":
        return centered.astype(np.bool_)
    return (centered + tensor.zero_point).astype(tensor.type.lower())


def _before_logistic(operators_left: list[Operator], output: Tensor) -> Tensor | None:
    """Return what a final LOGISTIC of several classes takes: it rises with it, and saturates."""
    last = ending(operators_left, output)
    final = bool(last) and last[-1].name == "LOGISTIC" and output.shape[-1:] > (1,)
    return last[-1].inputs[0] if final else None


def _convert(end: Tensor, inner: Tensor) -> bool:
    """Whether an end of the file and the integer tensor beside it differ in their type alone."""
    if end.shape != inner.shape:
        return False
    if end.type == "FLOAT32":
        return inner.type in LIMITS
    same_scale = len(end.scales) == len(inner.scales) == 1 and end.scale == inner.scale
    return inner.type == "INT8" and same_scale and end.zero_point - inner.zero_point == _UINT8_SHIFT


def _check_kernels(path: str, precision: str, kernels: str) -> None:
    known = KERNELS[precision]
    if kernels not in known:
        raise UserError(f"{path}: kernels '{kernels}' do not exist for {precision}; {did_you_mean(kernels, known)}")


def on_known_processor() -> bool:
    """Whether this processor is one on which `builtin` and `xnnpack` arithmetic was established."""
    return platform.machine().lower() in _X86


def as_foolbox(model: IntegerModel) -> Any:
    """Return a Foolbox model of the logits for inputs in [0, 1], compiled for any batch size.

    Gradients are those of the model's estimator.
    """
    import foolbox  # here, because the evaluation jobs that use this module do not need it

    return foolbox.TensorFlowModel(model._float_logits, bounds=(0, 1))
