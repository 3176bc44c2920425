"""PixelDefend (Song et al. 2018, section 4.1 and algorithm 1): images moved to where a density model finds them likely.

Value by value, from the first to the last, each is replaced by the most probable one near its own, given those
before it as they have been replaced. Gradients of attacks pass as they are (BPDA).
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
    return purification.purify(samples, load_density(density).purified, density, epsilon)


def operations(shape: tuple[int, ...], *, density: str, epsilon: float) -> int:
    """Return the work for one sample of `shape` (H, W, C), with what earlier pixels have left in memory."""
    return purification.operations(shape, density, epsilon)


def storage(shape: tuple[int, ...], *, density: str, epsilon: float) -> tuple[int, int]:
    """Return the bytes of the weights and of the activations kept, both float32."""
    return purification.storage(shape, density)
