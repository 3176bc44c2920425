"""PixelDefend in one pass, as Costa and Pinto (2024) have run it.

Each value is replaced by the most probable one near its own, given those before it as they are in the input, so that
an attacker's perturbation of these counts. `pixel_defend` is the published algorithm.
"""

from __future__ import annotations

import numpy as np

from qnn_robustness.defenses.shared import purification
from qnn_robustness.models.density.pixel_cnn import load_density

OF_IMAGES = True


def apply(samples: np.ndarray, *, density: str, epsilon: float) -> np.ndarray:
    """Return `samples` (float32 [N, H, W, C] in [0, 1]), rounded to 8 bits, purified within `epsilon` (Linf).

    `density` is the file of a density model.

    Raises UserError when that is missing or is one of images with another number of channels.
    """
    return purification.purify(samples, load_density(density).purified_one_pass, density, epsilon)


def operations(shape: tuple[int, ...], *, density: str, epsilon: float) -> int:
    """Return the work for one sample of `shape` (H, W, C)."""
    return purification.operations(shape, density, epsilon)


def storage(shape: tuple[int, ...], *, density: str, epsilon: float) -> tuple[int, int]:
    """Return the bytes of the weights and of the activations kept, both float32."""
    return purification.storage(shape, density)
