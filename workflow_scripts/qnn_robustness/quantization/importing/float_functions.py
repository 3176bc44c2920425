"""Operators of a float32 .tflite file that one function of keras.ops is, on activations and constants alike."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import keras
import numpy as np

from qnn_robustness.quantization.flatbuffer import Operator

ops = keras.ops


def _rsqrt(value: Any) -> Any:
    return ops.rsqrt(value)


def _squared_difference(a: Any, b: Any) -> Any:
    return ops.square(ops.subtract(a, b))


def _l2_normalized(value: Any) -> Any:
    return ops.normalize(value, axis=-1, order=2)


# Values in, values out: each input is an activation or a constant, in the order of the file.
FUNCTIONS: dict[str, Callable[..., Any]] = {
    "ABS": ops.abs,
    "COS": ops.cos,
    "DIV": ops.divide,
    "ELU": ops.elu,
    "EQUAL": ops.equal,
    "EXP": ops.exp,
    "GREATER": ops.greater,
    "GREATER_EQUAL": ops.greater_equal,
    "L2_NORMALIZATION": _l2_normalized,
    "LESS": ops.less,
    "LESS_EQUAL": ops.less_equal,
    "LOG": ops.log,
    "LOG_SOFTMAX": ops.log_softmax,
    "MAXIMUM": ops.maximum,
    "MINIMUM": ops.minimum,
    "NEG": ops.negative,
    "NOT_EQUAL": ops.not_equal,
    "POW": ops.power,
    "RSQRT": _rsqrt,
    "SELECT": ops.where,
    "SELECT_V2": ops.where,
    "SIN": ops.sin,
    "SQRT": ops.sqrt,
    "SQUARE": ops.square,
    "SQUARED_DIFFERENCE": _squared_difference,
}


def applied(function: Callable[..., Any], operator: Operator, values: tuple[Any, ...]) -> Any:
    """Return a function of an operator's inputs: `values` stand for those that are no constants, in order."""
    given = iter(values)
    return function(*(next(given) if tensor.data is None else tensor.data for tensor in operator.inputs))


def product(operator: Operator, *values: Any) -> Any:
    """BATCH_MATMUL: the matrices in the last two axes, transposed where the options say so."""

    def multiplied(a: Any, b: Any) -> Any:
        a, b = (
            ops.swapaxes(x, -1, -2) if operator.options.get(f"adj{place}") else x for x, place in ((a, "X"), (b, "Y"))
        )
        return ops.matmul(a, b)

    return applied(multiplied, operator, values)


def gathered(operator: Operator, value: Any) -> Any:
    """GATHER of constant places along one axis. Raises ValueError for places of each sample."""
    if operator.options.get("batchDims") or operator.inputs[0].data is not None:
        raise ValueError("takes of constants, or of each sample by itself")
    return ops.take(value, np.array(operator.inputs[1].data), axis=int(operator.options.get("axis", 0)))


def packed(operator: Operator, *values: Any) -> Any:
    """PACK of activations along a new axis."""
    return ops.stack(list(values), axis=int(operator.options.get("axis", 0)))


def unpacked(operator: Operator, value: Any) -> list[Any]:
    """UNPACK along an axis."""
    return list(ops.unstack(value, len(operator.outputs), axis=int(operator.options.get("axis", 0))))


def reversed_axes(operator: Operator, value: Any) -> Any:
    """REVERSE_V2 of constant axes."""
    return ops.flip(value, axis=tuple(int(axis) for axis in np.ravel(operator.inputs[1].data)))


def tiled(operator: Operator, value: Any) -> Any:
    """TILE by constant multiples."""
    return ops.tile(value, [int(times) for times in operator.inputs[1].data])


def taken(operator: Operator, value: Any) -> Any:
    """SLICE with constant bounds; -1 is all that is left."""
    begin, sizes = (np.ravel(tensor.data).tolist() for tensor in operator.inputs[1:3])
    bounds = zip(begin[1:], sizes[1:], strict=True)
    parts = [slice(first, None if size == -1 else first + size) for first, size in bounds]
    return value[(slice(None), *parts)]
