"""The operators that the integer model reproduces, by name and options. Needs no TensorFlow."""

from __future__ import annotations

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import Graph, Operator

# Those with a layer of their own (model.LAYERS).
LAYERS = (
    "ABS",
    "ADD",
    "AVERAGE_POOL_2D",
    "BATCH_MATMUL",
    "BATCH_TO_SPACE_ND",
    "CONCATENATION",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "DEPTH_TO_SPACE",
    "DIV",
    "ELU",
    "EQUAL",
    "EXP",
    "EXPAND_DIMS",
    "FILL",
    "FULLY_CONNECTED",
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
    "NOT_EQUAL",
    "PACK",
    "PAD",
    "PADV2",
    "PRELU",
    "QUANTIZE",
    "REDUCE_MAX",
    "REDUCE_MIN",
    "RELU",
    "RELU6",
    "RELU_0_TO_1",
    "RELU_N1_TO_1",
    "RESHAPE",
    "RESIZE_BILINEAR",
    "RESIZE_NEAREST_NEIGHBOR",
    "REVERSE_V2",
    "RSQRT",
    "SELECT",
    "SELECT_V2",
    "SLICE",
    "SOFTMAX",
    "SPACE_TO_BATCH_ND",
    "SPACE_TO_DEPTH",
    "SPLIT",
    "SQRT",
    "SQUARED_DIFFERENCE",
    "SQUEEZE",
    "STRIDED_SLICE",
    "SUB",
    "SUM",
    "TANH",
    "TILE",
    "TRANSPOSE",
    "TRANSPOSE_CONV",
    "UNPACK",
)
SHAPE = ("GATHER", "PACK", "REDUCE_PROD", "SHAPE", "STRIDED_SLICE")
BORDER = ("QUANTIZE", "DEQUANTIZE")
# Those in float32 between DEQUANTIZE and QUANTIZE.
FLOATS = ("CEIL", "COS", "ELU", "FLOOR", "NEG", "POW", "ROUND", "SIGN", "SIN", "SQUARE")
SUPPORTED = tuple(sorted({*LAYERS, *SHAPE, *BORDER, *FLOATS}))
ACTIVATIONS = {0: "NONE", 1: "RELU", 2: "RELU_N1_TO_1", 3: "RELU6"}  # those fused into an operator, by their codes


def on_shapes(operator: Operator) -> bool:
    """Whether an operator works on shapes, which a RESHAPE reads, and on no activations."""
    types = {tensor.type for tensor in operator.inputs if tensor is not None}
    return operator.name == "SHAPE" or (operator.name in (*SHAPE, "CONCATENATION") and types <= {"INT32", "INT64"})


def on_floats(operator: Operator) -> bool:
    """Whether an operator is a function of float32 values that may stand between DEQUANTIZE and QUANTIZE."""
    return operator.name in FLOATS and operator.outputs[0].type == "FLOAT32"


def unsupported(path: str, operator: Operator) -> UserError:
    """Return the error for an operator that the integer model does not have, or not in its place."""
    where = " in this place" if operator.name in SUPPORTED else ""
    return UserError(f"{path}: {operator}: is not supported{where}; supported: {', '.join(SUPPORTED)}")


def check_operators(graph: Graph) -> None:
    """Raise UserError for the first operator that the integer model has in no place, or not with its options."""
    for operator in graph.operators:
        if operator.name not in (*LAYERS, *BORDER) and not on_shapes(operator) and not on_floats(operator):
            raise unsupported(graph.path, operator)
        if reason := _refused_options(operator):
            raise UserError(f"{graph.path}: {operator}: {reason}")


def _refused_options(operator: Operator) -> str | None:
    fused = operator.options.get("fusedActivationFunction", 0)
    if fused not in ACTIVATIONS:
        return f"fused activation {fused}; supported: {', '.join(ACTIVATIONS.values())}"
    return None
