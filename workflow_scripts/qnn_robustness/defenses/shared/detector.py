"""Detection of adversarial samples by feature squeezing (Xu et al. 2018, section V): scores and thresholds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from scipy.special import softmax

from qnn_robustness.common.errors import UserError

TOLERANCE = 1e-9


def squeezing_scores(outputs: Sequence[np.ndarray], probabilities: bool) -> np.ndarray:
    """Return the score [N] of each sample: the largest L1 distance of its softmax output from a squeezed one.

    `outputs` [N, K] are those of the network on the samples themselves, then on the samples squeezed in each way:
    logits, or `probabilities` where the network ends in softmax.
    """
    plain, *squeezed = outputs if probabilities else [softmax(logits, axis=1) for logits in outputs]
    return np.max([np.abs(plain - other).sum(axis=1) for other in squeezed], axis=0)


def threshold_at(scores: np.ndarray, false_positive_rate: float) -> float:
    """Return the lowest of the `scores` of clean samples above which at most that share of them lies.

    This is the rate on these samples (Xu et al. 2018); on others it is larger by up to one in their number, on average.
    Raises UserError when there are none.
    """
    if not len(scores):
        raise UserError("the validation split is empty: no threshold for a detector; set validation_samples")
    allowed = int(np.floor(false_positive_rate * len(scores) + TOLERANCE))
    return float(np.sort(scores)[max(len(scores) - 1 - allowed, 0)])
