"""What operators on shapes compute: the sizes of a RESHAPE that the converter leaves open. Needs no TensorFlow."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np

from qnn_robustness.quantization.flatbuffer import Operator

Values = list[np.ndarray]


def sizes(operator: Operator) -> np.ndarray | None:
    """Return what an operator on shapes gives; None where it reads what is not known.

    Constants and sizes found before are the `data` of its inputs; the sizes of an activation are its shape.
    """
    if operator.name == "SHAPE":
        return np.array(operator.inputs[0].shape, np.int64)
    values = [None if tensor is None else tensor.data for tensor in operator.inputs]
    if any(value is None for value in values):
        return None
    try:
        return np.asarray(_FUNCTIONS[operator.name](values, operator.options), np.int64)
    except (IndexError, TypeError, ValueError):  # in a damaged file
        return None


def _taken(values: Values, options: Mapping[str, Any]) -> np.ndarray | np.int64:
    sizes, *bounds = values
    begin, end, stride = (int(np.ravel(bound)[0]) for bound in bounds)
    first = None if options.get("beginMask", 0) & 1 else begin
    part = sizes[first : None if options.get("endMask", 0) & 1 else end : stride]
    return part[0] if options.get("shrinkAxisMask", 0) & 1 else part


_FUNCTIONS: dict[str, Callable[[Values, Mapping[str, Any]], Any]] = {
    "CONCATENATION": lambda values, _: np.concatenate(values),
    "GATHER": lambda values, _: np.take(*values),
    "PACK": lambda values, _: np.stack(values),
    "REDUCE_PROD": lambda values, options: np.prod(values[0], keepdims=bool(options.get("keepDims"))),
    "STRIDED_SLICE": _taken,
}
