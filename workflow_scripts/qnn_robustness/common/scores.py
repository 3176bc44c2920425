"""From scores to classes."""

from __future__ import annotations

import numpy as np

NO_CLASS = -1  # of a sample whose scores are no numbers: it is misclassified whatever its label


def predicted(scores: np.ndarray) -> np.ndarray:
    """Return the class of the largest score (float [N, K] -> int64 [N]), the first of equal ones.

    It is NO_CLASS where a score is no number: NumPy's arg-max would give the place of the first such score, and with it
    the label to some broken answers.
    """
    return np.where(np.isnan(scores).any(axis=1), NO_CLASS, scores.argmax(axis=1))
