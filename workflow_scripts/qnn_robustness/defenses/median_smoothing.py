"""Feature squeezing by a local median (Xu et al. 2018, section III.B)."""

from __future__ import annotations

import numpy as np
from scipy.ndimage import median_filter


def apply(samples: np.ndarray, *, window: int) -> np.ndarray:
    """Return `samples` (float32 [N, H, W, C]) with each pixel the median of a `window` x `window` neighbourhood.

    Channels are filtered apart; borders are mirrored. For an even window the larger of the two middle
    values is taken, and the window extends one pixel further up and left than down and right.
    """
    return median_filter(samples, size=(1, window, window, 1), mode="reflect")
