"""What the variants of PixelDefend share."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from qnn_robustness.common.errors import UserError
from qnn_robustness.models.density.logistic_mixture import TOP
from qnn_robustness.models.density.pixel_cnn import load_density

FLOAT = 4  # bytes
PER_COMPONENT = 14  # operations for a value under a component: two edges in common with its neighbours, and the sum


def purify(
    samples: np.ndarray, purified: Callable[[np.ndarray, int], np.ndarray], density: str, epsilon: float
) -> np.ndarray:
    """Return what `purified` makes of the images that `samples` (float32 [N, H, W, C] in [0, 1]) are nearest to.

    Raises UserError when the density model, of the file `density`, is one of other images.
    """
    wanted, channels = load_density(density).channels, samples.shape[-1]
    if channels != wanted:
        raise UserError(f"{density}: is of images of {wanted} channels; these have {channels}")
    images = np.rint(np.clip(samples, 0, 1) * np.float32(TOP)).astype(np.uint8)
    return purified(images, levels(epsilon)) / np.float32(TOP)


def levels(epsilon: float) -> int:
    """Return how many 8-bit levels fit into a distance."""
    return int(epsilon * TOP + 1e-6)


def operations(shape: tuple[int, ...], density: str, epsilon: float) -> int:
    """Return the work for one sample: each weight is used once a pixel, each value within `epsilon` is tried.

    With an `epsilon` of 0 this is the work of asking how likely the sample is, of which its own values alone are tried.
    A hyperbolic tangent, an exponential and a logarithm count as one operation.
    """
    height, width, channels = shape
    network = load_density(density)
    tried = channels * (2 * levels(epsilon) + 1) * network.mixtures * PER_COMPONENT
    gates = 2 * network.layers * 4 * network.width
    return height * width * (2 * network.parameters + gates + tried)


def storage(shape: tuple[int, ...], density: str) -> tuple[int, int]:
    """Return the bytes of the weights and of the activations kept from pixel to pixel, both float32.

    Each layer keeps its inputs in the row above and in the pixel to the left, and what the vertical stack gives to the
    horizontal one in the whole row, which is twice as wide. The image is purified in its place.
    """
    network = load_density(density)
    activations = network.layers * network.width * (shape[1] + 2 * shape[1] + 1)
    return FLOAT * network.parameters, FLOAT * activations
