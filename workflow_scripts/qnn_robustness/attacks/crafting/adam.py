"""Adam (Kingma and Ba 2015, algorithm 1) for arrays of which only a part is updated at a time."""

from __future__ import annotations

from typing import Any

import numpy as np

DECAY_OF_MEAN, DECAY_OF_SQUARE, TINY = 0.9, 0.999, 1e-8  # as published


class Moments:
    """Running means of slopes and of their squares, [N, ...]."""

    def __init__(self, like: np.ndarray):
        self.mean, self.square = np.zeros_like(like), np.zeros_like(like)

    def update(self, at: Any, slopes: np.ndarray, times: int | np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Take in the slopes of the entries `at` (an index), which have been updated `times`, this one included.

        Returns both parts of a step, the mean and the root of the square, corrected for having started at 0.
        """
        self.mean[at] += (1 - DECAY_OF_MEAN) * (slopes - self.mean[at])
        self.square[at] += (1 - DECAY_OF_SQUARE) * (slopes**2 - self.square[at])
        mean = self.mean[at] / (1 - DECAY_OF_MEAN**times)
        return mean, np.sqrt(self.square[at] / (1 - DECAY_OF_SQUARE**times)) + TINY
