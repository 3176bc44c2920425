"""A .tflite network whose answer is known: is an image brighter than the middle of its range?"""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
from tflite_builder import Builder

from qnn_robustness.data.splits import Split

SHAPE = (4, 4, 3)
PIXELS = 48
CLASSES = ("dark", "light")


def save(
    path: Path,
    scale: float = 1.0,
    zero_point: int = -128,
    ends: type = np.int8,
    end: str | None = "SOFTMAX",
    behind: Callable[[Builder, int, list[int], float], int] | None = None,
    reshaped: bool = False,
) -> str:
    """Write the network and return its path.

    It sums the codes less the middle one, -128 + 127.5 being the middle of black and white. With the default scale
    images go from 0 to 255. `end` is the last operator: SOFTMAX, LOGISTIC or none. `ends` float32 puts QUANTIZE and
    DEQUANTIZE at the ends. `behind` adds to the builder what comes behind the sums, of their shape and scale, and
    returns its output. `reshaped` computes the end in the shape [1, 1, 1, 2] and takes that off again.
    """
    builder = Builder()
    source = image = builder.tensor(np.int8, [1, *SHAPE], scale, zero_point)
    if ends is np.float32:
        source = builder.tensor(np.float32, [1, *SHAPE])
        builder.operator("QUANTIZE", [source], [image])
    size = builder.constant(np.array([-1, PIXELS], np.int32))
    flat = builder.tensor(np.int8, [1, PIXELS], scale, zero_point)
    builder.operator("RESHAPE", [image, size], [flat], "ReshapeOptions", newShape=[-1, PIXELS])
    weights = builder.constant(np.stack([np.full(PIXELS, -1), np.full(PIXELS, 1)]).astype(np.int8), 1.0)
    middle = PIXELS * (255 / 2 - 128 - zero_point)
    bias = builder.constant(np.array([middle, -middle], np.int32), scale)
    logits = builder.tensor(np.int8, [1, 2], scale * PIXELS, 0)
    builder.operator("FULLY_CONNECTED", [flat, weights, bias], [logits], "FullyConnectedOptions")
    if behind:
        logits = behind(builder, logits, [1, 2], scale * PIXELS)
    if reshaped:
        flat, logits = logits, builder.tensor(np.int8, [1, 1, 1, 2], scale * PIXELS, 0)
        builder.operator("RESHAPE", [flat], [logits], "ReshapeOptions", newShape=[-1, 1, 1, 2])
    output = logits
    if end:
        output = builder.tensor(np.int8, [1, 1, 1, 2] if reshaped else [1, 2], 2.0**-8, -128)
        options = {"SOFTMAX": ("SoftmaxOptions", {"beta": 1.0}), "LOGISTIC": (None, {})}
        table, values = options[end]
        builder.operator(end, [logits], [output], table, **values)
    if reshaped:
        last, output = output, builder.tensor(np.int8, [1, 2], 2.0**-8, -128)
        builder.operator("SQUEEZE", [last], [output], "SqueezeOptions", squeezeDims=[1, 2])
    if ends is np.float32:
        last, output = output, builder.tensor(np.float32, [1, 2])
        builder.operator("DEQUANTIZE", [last], [output])
    return builder.save(path, [source], [output])


def images(count: int = 20, seed: int = 0) -> Split:
    """Return dark images (0 to 120) and light ones (135 to 255) in turn."""
    random = np.random.default_rng(seed)
    labels = np.arange(count) % 2
    samples = random.integers(0, 121, (count, *SHAPE)) + 135 * labels[:, None, None, None]
    return Split(samples.astype(np.uint8), labels.astype(np.int64))
