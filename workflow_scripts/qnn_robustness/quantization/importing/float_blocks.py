"""Dilated convolutions as the converter writes them: of blocks of pixels that become samples for as long.

Rebuilt, the image stays whole and the convolution between is dilated.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from keras import layers

from qnn_robustness.quantization.flatbuffer import Operator

VALID = 1
CONVOLUTIONS = ("CONV_2D", "DEPTHWISE_CONV_2D")


@dataclass(frozen=True)
class Blocks:
    """An image [N, H, W, C], or row [N, W, C], of which the file has each `steps`-th pixel in a sample of its own."""

    value: Any
    steps: tuple[int, ...]


def in_blocks(value: Any, steps: list[int], amounts: list[list[int]]) -> Blocks:
    """SPACE_TO_BATCH_ND with `amounts` of zeros before and after each axis. Raises ValueError for other axes."""
    padding = {1: layers.ZeroPadding1D, 2: layers.ZeroPadding2D}.get(len(steps))
    if padding is None or len(value.shape) != len(steps) + 2:
        raise ValueError("makes blocks of other axes than height and width")
    given = amounts if len(steps) == 2 else amounts[0]
    return Blocks(padding(given)(value), tuple(steps))


def whole(blocks: Blocks, steps: list[int], amounts: list[list[int]]) -> Any:
    """BATCH_TO_SPACE_ND, which cuts `amounts` before and after each axis. Raises ValueError for other blocks."""
    if tuple(steps) != blocks.steps:
        raise ValueError(f"puts blocks of {blocks.steps} together as {tuple(steps)}")
    cropping = layers.Cropping2D if len(steps) == 2 else layers.Cropping1D
    return cropping(amounts if len(steps) == 2 else amounts[0])(blocks.value)


def on_blocks(operator: Operator, blocks: Blocks, convolution: Callable[[Operator, Any], Any]) -> Blocks:
    """Return what an operator makes of blocks. Raises ValueError for one that may not stand between them."""
    value, steps, rank = blocks.value, blocks.steps, len(operator.outputs[0].shape)
    if operator.name in CONVOLUTIONS and len(steps) == 2:
        options = dict(operator.options)
        plain = [options.pop(name) for name in ("strideH", "strideW", "dilationHFactor", "dilationWFactor", "padding")]
        if plain == [1, 1, 1, 1, VALID]:
            dilated = {"dilationHFactor": steps[0], "dilationWFactor": steps[1]}
            return Blocks(convolution(replace(operator, options={**operator.options, **dilated}), value), steps)
    elif operator.name in ("EXPAND_DIMS", "RESHAPE", "SQUEEZE"):
        if rank == 4 and len(steps) == 1 and operator.outputs[0].shape[1] == 1:
            return Blocks(layers.Reshape((1, *value.shape[1:]))(value), (1, *steps))
        if rank == 3 and steps[0] == value.shape[1] == 1:
            return Blocks(layers.Reshape(value.shape[2:])(value), steps[1:])
    raise ValueError("stands where pixels are in blocks, in which only plain convolutions work")
