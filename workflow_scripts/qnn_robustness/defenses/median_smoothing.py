"""Feature squeezing by a local median (Xu et al. 2018, section III.B)."""

from __future__ import annotations

import math

import numpy as np
from scipy.ndimage import median_filter

OF_IMAGES = True


def apply(samples: np.ndarray, *, window: int) -> np.ndarray:
    """Return `samples` (float32 [N, H, W, C]) with each pixel the median of a `window` x `window` neighbourhood.

    Channels are filtered apart; borders are mirrored. For an even window the larger of the two middle
    values is taken, and the window extends one pixel further up and left than down and right.
    """
    return median_filter(samples, size=(1, window, window, 1), mode="reflect")


def pull_back(gradients: np.ndarray, samples: np.ndarray, *, window: int) -> np.ndarray:
    """Return the exact gradients by `samples`: each goes to the pixel that is the median.

    Where several pixels of a window share that value, one of them gets all.
    """
    neighbours = _neighbours(samples.shape[1:], window)
    middle = window * window // 2  # the place that scipy's filter takes for the median
    pulled = np.empty_like(gradients)
    for sample, gradient, result in zip(samples, gradients, pulled, strict=True):  # a batch of windows is large
        order = np.argsort(sample.ravel()[neighbours], axis=1, kind="stable")
        chosen = np.take_along_axis(neighbours, order[:, middle : middle + 1], axis=1)[:, 0]
        result[...] = np.bincount(chosen, gradient.ravel(), minlength=sample.size).reshape(sample.shape)
    return pulled


def operations(shape: tuple[int, ...], *, window: int) -> int:
    """Return the work for one sample of `shape` (H, W, C): the comparisons of sorting each window by insertion."""
    return math.prod(shape) * (window**2 * (window**2 - 1) // 2)


def _neighbours(shape: tuple[int, ...], window: int) -> np.ndarray:
    """Return the places (of the flat sample) in the window of each output value, [H * W * C, window ** 2]."""
    before, after = window // 2, (window - 1) // 2
    places = np.arange(np.prod(shape)).reshape(shape)
    padded = np.pad(places, ((before, after), (before, after), (0, 0)), mode="symmetric")
    windows = np.lib.stride_tricks.sliding_window_view(padded, (window, window), axis=(0, 1))
    return windows.reshape(-1, window * window)
