"""What all operators of the integer model share.

Activations travel between layers as float32 tensors of whole numbers: code minus zero point ("centered"
codes), exact because every one is below 2**17. A layer is built once from the file and is then a function
of such tensors.
"""

from __future__ import annotations

from abc import ABC, abstractmethod
from dataclasses import dataclass, replace

import numpy as np
import tensorflow as tf

from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.flatbuffer import Operator, Tensor
from qnn_robustness.quantization.integer_model.estimators import Gate
from qnn_robustness.quantization.integer_model.operators import ACTIVATIONS

LIMITS = {"INT8": (-128, 127), "INT16": (-32768, 32767)}
EXACT_FLOAT32 = 2**24  # whole numbers up to here, and sums of them in any order, are exact in float32
EXACT_FLOAT64 = 2**53
# Where the functions that may be fused into an operator cut, and those of their own.
CUTS: dict[str, tuple[int | None, int | None]] = {
    "NONE": (None, None),
    "RELU": (0, None),
    "RELU6": (0, 6),
    "RELU_0_TO_1": (0, 1),
    "RELU_N1_TO_1": (-1, 1),
}
PADDINGS = {0: "SAME", 1: "VALID"}


@dataclass(frozen=True)
class Context:
    """What an operator is built for: the file's path and the kernel set."""

    path: str
    kernels: str

    def left_to_built_in(self) -> Context:
        """The context of an operator that XNNPACK, if it is the kernel set, leaves to the built-in kernels."""
        return replace(self, kernels="builtin") if self.kernels == "xnnpack" else self

    def refuse(self, operator: Operator, reason: str) -> UserError:
        """The error for an operator that the integer model does not reproduce."""
        return UserError(f"{self.path}: {operator}: {reason}")

    def expect(self, condition: bool, operator: Operator, reason: str) -> None:
        """Raise UserError unless the condition holds."""
        if not condition:
            raise self.refuse(operator, reason)


class Layer(ABC):
    """One output of an operator. Subclasses are called with the centered inputs and return the centered output."""

    def __init__(self, operator: Operator, context: Context, place: int = 0):
        self.operator, self.context, self.place = operator, context, place
        operands = self.operands(operator)
        context.expect(None not in operands, operator, "lacks an input")
        self.inputs = [tensor for tensor in operands if tensor.data is None]
        context.expect(bool(self.inputs), operator, "lacks an input that is an activation")
        self.output = operator.outputs[place]
        coded = self.coded()
        for tensor in coded:
            context.expect(
                tensor.type in LIMITS and len(tensor.scales) == 1,
                operator,
                f"tensor {tensor.index} has type {tensor.type} with {len(tensor.scales)} scales; supported: "
                "INT8 and INT16 activations with one scale",
            )
        context.expect(
            all(tensor.type == coded[0].type for tensor in coded),
            operator,
            "mixes types; input and output must have the same integer type",
        )
        self.is_int8 = coded[0].type == "INT8"

    @classmethod
    def layers(cls, operator: Operator, context: Context) -> list[Layer]:
        """The layers of an operator: one for each output, which most operators have one of."""
        return [cls(operator, context)]

    @property
    def name(self) -> str:
        """Position and operator, such as `3 ADD`, with the place of a further output, such as `3 SPLIT 1`."""
        place = f" {self.place}" if self.place else ""
        return f"{self.operator.position} {self.operator.name}{place}"

    def expect_kept_codes(self) -> None:
        """Raise UserError unless operands and output have the same scale and zero point: the kernel ignores them."""
        codes = self.output.scale, self.output.zero_point
        kept = all((tensor.scale, tensor.zero_point) == codes for tensor in self.operands(self.operator))
        self.context.expect(kept, self.operator, "changes the scale, which its kernel ignores")

    def expect_sizes(self, shape: tuple[int, ...]) -> None:
        """Raise UserError unless the output has this shape as far as the file says it, samples aside."""
        stated = self.output.shape
        fits = self.output.open or shape[1:] == stated[1:]
        self.context.expect(fits, self.operator, f"gives {shape}; the file says {stated}")

    @staticmethod
    def operands(operator: Operator) -> tuple[Tensor | None, ...]:
        """The inputs that hold activations, or constants in their place; the others say what is done with them."""
        return operator.inputs[:1]

    def coded(self) -> list[Tensor]:
        """The operands and the output that hold codes: all of them, but where an operator has truth values."""
        return [*self.operands(self.operator), self.output]

    @abstractmethod
    def __call__(self, gate: Gate, *values: tf.Tensor) -> tf.Tensor:
        """Return the centered output, float32 [N, ...], for centered `inputs`; `gate` shapes the gradient."""


def constant_integers(operator: Operator, context: Context, place: int, what: str) -> list[int]:
    """Return the numbers in a constant input of an operator. Raises UserError, which says `what` they are."""
    tensor = operator.inputs[place] if place < len(operator.inputs) else None
    context.expect(
        tensor is not None and tensor.data is not None and tensor.data.size > 0 and tensor.type in ("INT32", "INT64"),
        operator,
        f"needs constant {what}",
    )
    return [int(number) for number in np.ravel(tensor.data)]


def centered_limits(tensor: Tensor) -> tuple[int, int]:
    """The range of code minus zero point."""
    low, high = LIMITS[tensor.type]
    return low - tensor.zero_point, high - tensor.zero_point


def activation_limits(operator: Operator, context: Context) -> tuple[int, int]:
    """The centered output limits under the fused activation (`CalculateActivationRangeQuantized`)."""
    output, fused = operator.outputs[0], ACTIVATIONS[operator.options.get("fusedActivationFunction", 0)]
    return limits_under(fused, output, context)


def limits_under(fused: str, output: Tensor, context: Context) -> tuple[int, int]:
    """The centered output limits under NONE or a function that cuts at whole numbers."""
    low, high = centered_limits(output)
    least, most = CUTS[fused]
    if least is not None:
        low = max(low, _code(least, output, context))
    if most is not None:
        high = min(high, _code(most, output, context))
    return low, high


def _code(real: int, output: Tensor, context: Context) -> int:
    """The centered code at which a value is cut."""
    quotient = np.float32(real) / output.scale
    if context.kernels == "xnnpack" and output.type == "INT8":
        # xnn_qs8_quantize: the zero point is added before rounding half to even.
        return int(np.rint(np.float32(quotient + np.float32(output.zero_point)))) - output.zero_point
    whole = int(np.floor(np.abs(quotient) + np.float32(0.5)))
    return -whole if real < 0 else whole


def same_padding(size: int, kernel: int, step: int) -> list[int]:
    """Zeros before and after under SAME padding (the odd one goes after)."""
    outputs = -(-size // step)
    total = max((outputs - 1) * step + kernel - size, 0)
    return [total // 2, total - total // 2]
