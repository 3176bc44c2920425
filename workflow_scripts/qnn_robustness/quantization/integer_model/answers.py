"""What the TFLite interpreter answers for single codes, from a file that holds an operator, or a few, alone.

Where an operator works on each value by itself, its answers for all codes say all about it.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np
from ai_edge_litert.interpreter import Interpreter

from qnn_robustness.quantization.flatbuffer import Operator, Tensor, alone
from qnn_robustness.quantization.integer_model.layer import LIMITS, Context
from qnn_robustness.quantization.tflite_model import RESOLVERS


def every_code(tensor: Tensor) -> np.ndarray:
    """Return the codes of a tensor's type in order."""
    low, high = LIMITS[tensor.type]
    return np.arange(low, high + 1, dtype=tensor.type.lower())


def answers(context: Context, operators: Sequence[Operator], given: Mapping[Tensor, np.ndarray]) -> np.ndarray:
    """Return what operators, one feeding the next, give on the context's kernel set for codes of their inputs.

    given: codes [N] of each input, constants among them. Returns [N] of the type of the last output.
    """
    shape = (1, *next(iter(given.values())).shape)
    interpreter = Interpreter(
        model_content=alone(context.path, operators, list(given), shape),
        experimental_op_resolver_type=RESOLVERS[context.kernels],
    )
    interpreter.allocate_tensors()
    for entry, codes in zip(interpreter.get_input_details(), given.values(), strict=True):
        interpreter.set_tensor(entry["index"], codes[None])
    interpreter.invoke()
    return interpreter.get_tensor(interpreter.get_output_details()[0]["index"])[0]
