"""Feature squeezing by colour depth (Xu et al. 2018, section III.A)."""

from __future__ import annotations

import math

import numpy as np


def apply(samples: np.ndarray, *, bits: int) -> np.ndarray:
    """Return `samples` (float32 [N, H, W, C] in [0, 1]) rounded to 2**bits evenly spaced levels from 0 to 1.

    It acts on the input in [0, 1], before any quantization, so that every precision sees the same levels.
    """
    top = np.float32(2**bits - 1)
    return np.rint(samples * top) / top


def operations(shape: tuple[int, ...], *, bits: int) -> int:
    """Return the work for one sample of `shape` (H, W, C): each value is multiplied, rounded and multiplied back."""
    return 3 * math.prod(shape)
