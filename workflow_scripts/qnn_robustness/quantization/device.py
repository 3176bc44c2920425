"""What a network costs on a microcontroller, read from its .tflite file alone.

Work in multiply-accumulates, flash as the size of the file, and memory as the tensor arena that TensorFlow Lite Micro
would plan. The interpreter's own structures, the code of the kernels and what they need as scratch are not in the
file, and not counted.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
from ai_edge_litert.interpreter import Interpreter, OpResolverType

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import Graph, Operator, Tensor, read_graph

ALIGNMENT = 16  # bytes; MicroArenaBufferAlignment of TensorFlow Lite Micro
BYTES = {"FLOAT32": 4, "INT32": 4, "INT64": 8, "INT16": 2, "INT8": 1, "UINT8": 1, "BOOL": 1}
PRODUCTS = ("BATCH_MATMUL", "CONV_2D", "DEPTHWISE_CONV_2D", "FULLY_CONNECTED", "TRANSPOSE_CONV")
# Operators that are not counted: they move, add, compare, scale or look up, about once a value.
NO_PRODUCTS = frozenset(
    [
        "ABS",
        "ADD",
        "AVERAGE_POOL_2D",
        "BATCH_TO_SPACE_ND",
        "CEIL",
        "CONCATENATION",
        "COS",
        "DEPTH_TO_SPACE",
        "DEQUANTIZE",
        "DIV",
        "ELU",
        "EQUAL",
        "EXP",
        "EXPAND_DIMS",
        "FILL",
        "FLOOR",
        "GATHER",
        "GELU",
        "GREATER",
        "GREATER_EQUAL",
        "HARD_SWISH",
        "LEAKY_RELU",
        "LESS",
        "LESS_EQUAL",
        "LOG",
        "LOGISTIC",
        "MAXIMUM",
        "MAX_POOL_2D",
        "MEAN",
        "MINIMUM",
        "MIRROR_PAD",
        "MUL",
        "NEG",
        "NOT_EQUAL",
        "PACK",
        "PAD",
        "PADV2",
        "POW",
        "PRELU",
        "QUANTIZE",
        "REDUCE_MAX",
        "REDUCE_MIN",
        "REDUCE_PROD",
        "RELU",
        "RELU6",
        "RELU_0_TO_1",
        "RELU_N1_TO_1",
        "RESHAPE",
        "RESIZE_BILINEAR",
        "RESIZE_NEAREST_NEIGHBOR",
        "REVERSE_V2",
        "ROUND",
        "RSQRT",
        "SELECT",
        "SELECT_V2",
        "SHAPE",
        "SIGN",
        "SIN",
        "SLICE",
        "SOFTMAX",
        "SPACE_TO_BATCH_ND",
        "SPACE_TO_DEPTH",
        "SPLIT",
        "SPLIT_V",
        "SQRT",
        "SQUARE",
        "SQUARED_DIFFERENCE",
        "SQUEEZE",
        "STRIDED_SLICE",
        "SUB",
        "SUM",
        "TANH",
        "TILE",
        "TRANSPOSE",
        "UNPACK",
    ]
)


@dataclass(frozen=True)
class Cost:
    """The cost of one inference: multiply-accumulates (nan if unknown), and bytes of the file and of the arena."""

    macs: float
    flash: int
    arena: int


@dataclass(frozen=True)
class Buffer:
    """An activation: its bytes, and the first and last operator (by position) that hold it in memory."""

    size: int
    first: int
    last: int

    def overlaps(self, other: Buffer) -> bool:
        """Return whether both are in memory at the same time."""
        return self.first <= other.last and other.first <= self.last


def cost(path: str | Path) -> Cost:
    """Return the cost of a .tflite file; its multiply-accumulates are nan when it has an operator that is not known.

    Raises UserError when it is no readable file, has a type whose size is not known, or leaves sizes open and cannot be
    run.
    """
    graph = _with_sizes(read_graph(path))
    buffers = lifetimes(graph)
    places = plan(buffers)
    arena = max((place + buffer.size for place, buffer in zip(places, buffers, strict=True)), default=0)
    work = sum(multiply_accumulates(operator) for operator in graph.operators) // _samples(graph)
    return Cost(work, Path(path).stat().st_size, arena)


def multiply_accumulates(operator: Operator) -> float:
    """Return the multiply-accumulates of one operator in one run; nan for an operator that is not known.

    Products with padding count, as they do by convention.
    """
    outputs = math.prod(operator.outputs[0].shape)
    if operator.name in NO_PRODUCTS:
        return 0
    if operator.name not in PRODUCTS:
        return math.nan
    if operator.name == "BATCH_MATMUL":
        return outputs * operator.inputs[0].shape[-2 if operator.options.get("adjX", False) else -1]
    weights = operator.inputs[1].shape
    if operator.name == "TRANSPOSE_CONV":
        return math.prod(operator.inputs[2].shape) * math.prod(weights[:3])
    if operator.name == "DEPTHWISE_CONV_2D":
        return outputs * math.prod(weights[1:3])
    return outputs * math.prod(weights[1:])


def lifetimes(graph: Graph) -> list[Buffer]:
    """Return the activations of a graph with their sizes (bytes, aligned) and lifetimes, by the numbers of the tensors.

    Inputs are there from the start, outputs until the end. Constants stay in flash.
    """
    first = {tensor.index: -1 for tensor in graph.inputs}
    last = {tensor.index: -1 for tensor in graph.inputs}
    for operator in graph.operators:
        for tensor in operator.outputs:
            first.setdefault(tensor.index, operator.position)
            last[tensor.index] = operator.position
        for tensor in operator.inputs:
            if tensor is not None and tensor.index in first:
                last[tensor.index] = operator.position
    last.update({tensor.index: len(graph.operators) for tensor in graph.outputs if tensor.index in first})
    return [Buffer(_size(graph, graph.tensors[index]), first[index], last[index]) for index in sorted(first)]


def plan(buffers: Sequence[Buffer]) -> list[int]:
    """Return the place (bytes from the start of the arena) of each buffer.

    The plan of TensorFlow Lite Micro's GreedyMemoryPlanner: from the largest to the smallest, of equal ones the last
    first, each at the lowest place where it fits between those that are in memory at the same time.
    """
    places = [0] * len(buffers)
    placed: list[int] = []
    for index in sorted(range(len(buffers)), key=lambda i: (-buffers[i].size, -i)):
        place = 0
        rivals = [i for i in placed if buffers[i].overlaps(buffers[index])]
        for other in sorted(rivals, key=lambda i: places[i]):
            if places[other] - place >= buffers[index].size:
                break
            place = max(place, places[other] + buffers[other].size)
        places[index] = place
        placed.append(index)
    return places


def input_shape(path: str | Path) -> tuple[int, ...]:
    """Return the shape of one input sample of a .tflite file."""
    return read_graph(path).inputs[0].shape[1:]


def input_size(path: str | Path) -> int:
    """Return the bytes (aligned) of one input sample of a .tflite file."""
    graph = read_graph(path)
    return _size(graph, graph.inputs[0])


def _with_sizes(graph: Graph) -> Graph:
    """Return a graph with the shapes that its activations have in a run.

    A file has 1 for each size that is open, as behind a dense layer on many axes, and for the number of samples, also
    where SPACE_TO_BATCH_ND makes several of one. Where it has such, the interpreter runs it once.
    """
    if not any(tensor.open for tensor in graph.tensors) and all(o.name != "SPACE_TO_BATCH_ND" for o in graph.operators):
        return graph
    try:
        kernels = OpResolverType.BUILTIN_WITHOUT_DEFAULT_DELEGATES  # the reference ones lack some operators
        interpreter = Interpreter(graph.path, experimental_op_resolver_type=kernels)
        interpreter.allocate_tensors()
        interpreter.invoke()
    except (ValueError, RuntimeError) as error:
        raise UserError(f"{graph.path}: leaves sizes open, and cannot be run to find them ({error})") from None
    shapes = {entry["index"]: tuple(map(int, entry["shape"])) for entry in interpreter.get_tensor_details()}
    tensors = tuple(replace(tensor, shape=shapes.get(tensor.index, tensor.shape)) for tensor in graph.tensors)

    def sized(ends: Sequence[Tensor | None]) -> tuple[Tensor | None, ...]:
        return tuple(None if tensor is None else tensors[tensor.index] for tensor in ends)

    operators = tuple(replace(o, inputs=sized(o.inputs), outputs=sized(o.outputs)) for o in graph.operators)
    return replace(
        graph, tensors=tensors, operators=operators, inputs=sized(graph.inputs), outputs=sized(graph.outputs)
    )


def _samples(graph: Graph) -> int:
    """Return how many samples a run takes; one as a rule."""
    return max([1, *graph.inputs[0].shape[:1]])


def _size(graph: Graph, tensor: Tensor) -> int:
    if tensor.type not in BYTES:
        raise UserError(f"{graph.path}: tensor {tensor.index} is of type {tensor.type}; its size is not known")
    return int(np.ceil(math.prod(tensor.shape) * BYTES[tensor.type] / ALIGNMENT)) * ALIGNMENT
