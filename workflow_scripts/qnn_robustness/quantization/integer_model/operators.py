"""The operators that the integer model reproduces, by name. Needs no TensorFlow."""

from __future__ import annotations

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import Graph, Operator

# Those with a layer of their own (model.LAYERS).
LAYERS = (
    "ADD",
    "AVERAGE_POOL_2D",
    "CONV_2D",
    "DEPTHWISE_CONV_2D",
    "FULLY_CONNECTED",
    "MAX_POOL_2D",
    "MEAN",
    "PAD",
    "QUANTIZE",
    "RESHAPE",
)
SHAPE = ("SHAPE", "STRIDED_SLICE", "PACK")
BORDER = ("QUANTIZE", "DEQUANTIZE", "SOFTMAX")
SUPPORTED = tuple(sorted({*LAYERS, *SHAPE, *BORDER}))


def on_shapes(operator: Operator) -> bool:
    """Whether an operator works on shapes, which a RESHAPE reads, and on no activations."""
    types = {tensor.type for tensor in operator.inputs if tensor is not None}
    return operator.name == "SHAPE" or (operator.name in SHAPE and types <= {"INT32", "INT64"})


def unsupported(path: str, operator: Operator) -> UserError:
    """Return the error for an operator that the integer model does not have, or not in its place."""
    where = " in this place" if operator.name in SUPPORTED else ""
    return UserError(f"{path}: {operator}: is not supported{where}; supported: {', '.join(SUPPORTED)}")


def check_operators(graph: Graph) -> None:
    """Raise UserError for the first operator that the integer model has in no place."""
    for operator in graph.operators:
        if operator.name not in SUPPORTED or (operator.name in SHAPE and not on_shapes(operator)):
            raise unsupported(graph.path, operator)
