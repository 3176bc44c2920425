"""Detection of adversarial samples by how unlikely they are (Song et al. 2018, section 3)."""

from __future__ import annotations

import numpy as np

from qnn_robustness.common.distances import to_unit
from qnn_robustness.models.density.pixel_cnn import PixelCNN


def likelihood_scores(density: PixelCNN, samples: np.ndarray) -> np.ndarray:
    """Return the score [N] of each sample: its bits per dimension under a density model.

    `samples` are uint8 [N, H, W, C] or floats in [0, 1], which count as the nearest 8-bit images.
    """
    return density.bits_per_dimension(np.rint(to_unit(samples) * 255).astype(np.uint8))
