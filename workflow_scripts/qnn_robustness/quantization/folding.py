"""What operators of an int8 file the layers of a Keras network become.

The converter writes the function of a layer as an operator of its own, folds batch normalisation and a scaling by
constants into the weights before them, a scaling by two numbers also into those behind it, and what only cuts values
into the operator before it. What it cannot fold of a scaling is two operators, a product and a sum. All of this was
found in converted files.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import keras
import numpy as np
import tensorflow as tf
from keras import activations, layers

from qnn_robustness.common.calls import Call, flat_calls
from qnn_robustness.common.errors import UserError

CONVOLUTIONS = (layers.Conv2D, layers.DepthwiseConv2D, layers.SeparableConv2D)
WEIGHTED = (*CONVOLUTIONS, layers.Dense)
AFFINE = (layers.BatchNormalization, layers.Rescaling)
CUTTING = (activations.linear, activations.relu, activations.relu6, activations.hard_sigmoid)
CURVED = (
    *(activations.sigmoid, activations.tanh, activations.silu, activations.hard_silu),
    *(activations.gelu, activations.leaky_relu),
)
RECTIFIERS = (layers.ReLU, layers.LeakyReLU)
ELEMENTWISE = (layers.Add, layers.Multiply)
# results are values of the input, or zero
PASSING = (layers.MaxPooling2D, layers.ZeroPadding2D, layers.Flatten, layers.Reshape)
POOLING = (layers.AveragePooling2D, layers.GlobalAveragePooling2D)
KNOWN = (
    *(*WEIGHTED, *AFFINE, *RECTIFIERS, *ELEMENTWISE, *PASSING, *POOLING),
    *(layers.Activation, layers.Concatenate, layers.Dropout),
)


@dataclass(frozen=True)
class Linear:
    """A convolution, or a product where `options` is None; a separable convolution is two of them."""

    kernel: Any
    bias: Any | None
    options: dict[str, Any] | None = None
    depthwise: bool = False

    def __call__(self, inputs: tf.Tensor, kernel: tf.Tensor) -> tf.Tensor:
        if self.options is None:
            return inputs @ kernel
        convolve = keras.ops.depthwise_conv if self.depthwise else keras.ops.conv
        return convolve(inputs, kernel, **self.options)

    @property
    def axes(self) -> tuple[int, ...]:
        """Return the axes of the kernel that one output channel sums over."""
        return (0, 1) if self.depthwise else tuple(range(len(self.kernel.shape) - 1))


@dataclass(frozen=True)
class WithConstant:
    """The product with the factor of a layer of AFFINE, or the sum with its offset (`part` 0 and 1)."""

    layer: keras.Layer
    part: int

    def constant(self) -> tf.Tensor:
        return factor_and_offset(self.layer)[self.part]

    def __call__(self, inputs: tf.Tensor, constant: tf.Tensor) -> tf.Tensor:
        return inputs + constant if self.part else inputs * constant


@dataclass(frozen=True)
class Operation:
    """A function with what is folded into it; `sources` and `target` are places among the tensors of the network."""

    function: Any
    sources: tuple[int, ...]
    target: int
    rescaling: layers.Rescaling | None = None
    scaling: keras.Layer | None = None
    activation: Any | None = None


class Plan:
    """The `operations` of a network, each after all that it depends on.

    There are `count` tensors between them: the first is the input, and `result` the place of the logits.

    Raises UserError for a network with a layer that is not known here.
    """

    def __init__(self, network: keras.Model):
        calls = flat_calls(network)
        for call in calls:
            _check_known(call.operation)
        self._calls, result = _without_identities([part for call in calls for part in _parts(call)])
        self._makers = {id(call.output): call for call in self._calls}
        self._followers = defaultdict(list)
        for call in self._calls:
            for tensor in call.inputs:
                self._followers[id(tensor)].append(call)
        self._folded: set[int] = set()
        self._places: dict[int, int] = {id(network.inputs[0]): 0}
        self.count = 1
        self.operations: list[Operation] = []
        for call in self._calls:
            if id(call) not in self._folded and not self._goes_into_followers(call):
                self._add(call)
        self.result = self._places[id(result)]

    def _add(self, call: Call) -> None:
        function, tensor, rescaling, scaling, activation = call.operation, call.output, None, None, None
        if isinstance(function, Linear):
            rescaling = self._rescaling_before(call)
            scaling = self._only_follower(tensor, lambda other: isinstance(other, AFFINE))
            tensor = scaling.output if scaling else tensor
        sources = tuple(self._places[id(source)] for source in (rescaling or call).inputs)
        if isinstance(function, AFFINE):
            *before, function = _halves(function)
            for half in before:
                self.operations.append(Operation(half, sources, self._new_place()))
                sources = (self.operations[-1].target,)
        if isinstance(function, (Linear, WithConstant, *ELEMENTWISE)):
            activation = self._only_follower(tensor, _cuts)
            tensor = activation.output if activation else tensor
        target = self._places[id(tensor)] = self._new_place()
        folded = (folding.operation if folding else None for folding in (rescaling, scaling, activation))
        self.operations.append(Operation(function, sources, target, *folded))

    def _new_place(self) -> int:
        self.count += 1
        return self.count - 1

    def _only_follower(self, tensor: Any, folds: Callable[[Any], bool]) -> Call | None:
        """Return the call that alone takes a tensor, as folded, if it is one that folds."""
        found = self._followers[id(tensor)]
        if len(found) != 1 or not folds(found[0].operation):
            return None
        self._folded.add(id(found[0]))
        return found[0]

    def _rescaling_before(self, call: Call) -> Call | None:
        """Return the Rescaling which is multiplied into the kernel of a call, if there is one."""
        maker = self._makers.get(id(call.inputs[0]))
        return maker if maker and id(maker) not in self._folded and _goes_into(maker, call) else None

    def _goes_into_followers(self, call: Call) -> bool:
        followers = self._followers[id(call.output)]
        return bool(followers) and all(_goes_into(call, other) for other in followers)


def factor_and_offset(layer: keras.Layer) -> tuple[tf.Tensor, tf.Tensor]:
    """Return what a layer of AFFINE multiplies by and then adds, for each channel or for all."""
    if isinstance(layer, layers.Rescaling):
        return tuple(tf.constant(np.asarray(value, np.float32)) for value in (layer.scale, layer.offset))
    factor = tf.math.rsqrt(layer.moving_variance + layer.epsilon)
    factor *= layer.gamma if layer.scale else 1.0
    return factor, (layer.beta if layer.center else 0.0) - layer.moving_mean * factor


def _check_known(operation: keras.Operation) -> None:
    name = f"'{operation.name}' ({type(operation).__name__})"
    if not isinstance(operation, layers.Layer):
        raise UserError(f"{name} has no fake quantization; write it as a layer")
    if not isinstance(operation, KNOWN):
        raise UserError(f"layer {name} has no fake quantization")
    function = getattr(operation, "activation", activations.linear)
    if function not in (*CUTTING, *CURVED):
        known = ", ".join(activation.__name__ for activation in (*CUTTING, *CURVED))
        found = getattr(function, "__name__", function)
        raise UserError(f"layer {name}: the activation {found} has no fake quantization; known: {known}")


def _parts(call: Call) -> list[Call]:
    """Return the functions that a layer is made of, the one on the result of the other."""
    layer = call.operation
    if isinstance(layer, WEIGHTED):
        functions = [*_linear(layer), layer.activation]
    else:
        functions = [layer.activation if isinstance(layer, layers.Activation) else layer]
    tensors = [*(object() for _ in functions[1:]), call.output]
    inputs = [call.inputs, *((tensor,) for tensor in tensors)]
    return [Call(*part) for part in zip(functions, inputs, tensors, strict=False)]


def _without_identities(calls: list[Call]) -> tuple[list[Call], Any]:
    """Return the calls but for those that give what they take, and the tensor that the last call gives."""
    same: dict[int, Any] = {}
    kept = []
    for call in calls:
        inputs = tuple(same.get(id(tensor), tensor) for tensor in call.inputs)
        if call.operation is activations.linear or isinstance(call.operation, layers.Dropout):
            same[id(call.output)] = inputs[0]
        else:
            kept.append(Call(call.operation, inputs, call.output))
    return kept, same.get(id(calls[-1].output), calls[-1].output)


def _linear(layer: keras.Layer) -> list[Linear]:
    if isinstance(layer, layers.Dense):
        return [Linear(layer.kernel, layer.bias)]
    order = {"data_format": layer.data_format}
    options = {"strides": layer.strides, "padding": layer.padding, "dilation_rate": layer.dilation_rate, **order}
    if isinstance(layer, layers.SeparableConv2D):
        across = Linear(layer.depthwise_kernel, None, options, depthwise=True)
        return [across, Linear(layer.pointwise_kernel, layer.bias, order)]
    return [Linear(layer.kernel, layer.bias, options, isinstance(layer, layers.DepthwiseConv2D))]


def _halves(layer: keras.Layer) -> list[WithConstant]:
    """Return the operators of a layer of AFFINE that is not folded; none adds zero."""
    shifts = not isinstance(layer, layers.Rescaling) or np.any(layer.offset)
    return [WithConstant(layer, part) for part in ((0, 1) if shifts else (0,))]


def _cuts(function: Any) -> bool:
    """Return whether a function only cuts: the converter folds those."""
    if isinstance(function, layers.ReLU):
        return not function.negative_slope and not function.threshold
    return function in CUTTING


def _goes_into(call: Call, follower: Call) -> bool:
    """Return whether the converter multiplies a Rescaling into the kernel behind it, and its offset into the bias.

    It does so for one number each, but not for an offset where zeros that a convolution pads with would be shifted.
    """
    layer, linear = call.operation, follower.operation
    if not isinstance(layer, layers.Rescaling) or not isinstance(linear, Linear):
        return False
    padded = linear.options is not None and linear.options["padding"] != "valid"
    return np.size(layer.scale) == np.size(layer.offset) == 1 and not (padded and layer.offset)
