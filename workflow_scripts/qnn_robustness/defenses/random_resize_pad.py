"""Random resizing and padding (Xie et al. 2018, section 3), for networks whose input size is fixed.

The paper enlarges images and lets the network take larger inputs. A network on a microcontroller cannot: here
images shrink to a random size and are padded with zeros, at a random place, to the size they had.
"""

from __future__ import annotations

import math

import numpy as np

OF_IMAGES = True
DIGITS = 9  # of a size that count: 0.55 x 100 is a little more than 55


def draw(generator: np.random.Generator, shape: tuple[int, ...], *, smallest: float) -> np.ndarray:
    """Return height, width, top and left of one resized image of `shape` (H, W, C), as int64 [4].

    Each height from `smallest` x H to H is equally likely; the width follows the ratio.
    """
    height, width = shape[:2]
    low = max(1, math.ceil(round(smallest * height, DIGITS)))
    rows = int(generator.integers(low, height, endpoint=True))
    columns = max(1, round(width * rows / height))
    top = int(generator.integers(0, height - rows, endpoint=True))
    left = int(generator.integers(0, width - columns, endpoint=True))
    return np.array([rows, columns, top, left])


def apply(samples: np.ndarray, draws: np.ndarray, *, smallest: float) -> np.ndarray:
    """Return `samples` (float32 [N, H, W, C]) resized to the nearest pixel and padded, by `draws` [N, 4]."""
    rows, columns = _selections(samples.shape, draws)
    return np.einsum("nih,nhwc,njw->nijc", rows, samples, columns, optimize=["einsum_path", (0, 1), (0, 1)])


def pull_back(gradients: np.ndarray, samples: np.ndarray, draws: np.ndarray, *, smallest: float) -> np.ndarray:
    """Return the exact gradients by `samples`: for fixed draws the defense is linear."""
    rows, columns = _selections(samples.shape, draws)
    return np.einsum("nih,nijc,njw->nhwc", rows, gradients, columns, optimize=["einsum_path", (0, 1), (0, 1)])


def operations(shape: tuple[int, ...], *, smallest: float) -> int:
    """Return the work for one sample of `shape` (H, W, C): each value is copied."""
    return math.prod(shape)


def _selections(shape: tuple[int, ...], draws: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return which row (float32 [N, H, H], output first) and column ([N, W, W]) each pixel is taken from."""
    _, height, width, _ = shape
    return _selection(height, draws[:, 0], draws[:, 2]), _selection(width, draws[:, 1], draws[:, 3])


def _selection(length: int, sizes: np.ndarray, offsets: np.ndarray) -> np.ndarray:
    outputs = np.arange(length) - offsets[:, None]  # place within the resized image, [N, length]
    inside = (outputs >= 0) & (outputs < sizes[:, None])
    taken = ((2 * outputs + 1) * length) // (2 * sizes[:, None])  # the input pixel whose area holds the centre
    return (inside[..., None] & (taken[..., None] == np.arange(length))).astype(np.float32)
