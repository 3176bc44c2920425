"""The calls that a Keras network is made of.

A layer that is shared, or that a Sequential network has been built around more than once (as `add` does, and loading
from a file), has been called more often than its network calls it, and what `layer.output` gives is that of the first
call. Functions of `keras.ops`, `x + y` among them, are no layers at all.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any


@dataclass(frozen=True)
class Call:
    """An operation of a network, a layer in most cases, with the tensors it takes and the one it gives."""

    operation: Any
    inputs: tuple[Any, ...]
    output: Any


def calls(network: Any) -> list[Call]:
    """Return what `network` (keras.Model) calls after its input, each after all that it depends on."""
    nodes = getattr(network, "_functional", network)._nodes_by_depth  # a Sequential network is a Functional one inside
    ordered = [node for depth in sorted(nodes, reverse=True) for node in nodes[depth] if not node.is_input]
    return [Call(node.operation, tuple(node.input_tensors), node.output_tensors[0]) for node in ordered]


def flat_calls(network: Any) -> list[Call]:
    """Return `calls`, where a network that is a layer of another gives way to all that it calls itself.

    Tensors inside of it are others for each time that it is called.
    """
    return [flat for call in calls(network) for flat in _flattened(call)]


def _flattened(call: Call) -> list[Call]:
    network = call.operation
    if len(getattr(network, "outputs", ())) != 1:  # a layer, or a network whose results a call cannot tell apart
        return [call]
    tensors = dict(zip(map(id, network.inputs), call.inputs, strict=True))
    tensors[id(network.outputs[0])] = call.output
    made = []
    for inner in flat_calls(network):
        output = tensors.setdefault(id(inner.output), object())
        made.append(Call(inner.operation, tuple(tensors[id(tensor)] for tensor in inner.inputs), output))
    return made
