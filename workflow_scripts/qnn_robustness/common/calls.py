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
