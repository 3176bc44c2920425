"""What a black-box attack is answered by a network that a detector watches."""

from __future__ import annotations

import numpy as np


def labelled(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return logits [R, K] for logits [R, K + 1] whose last class stands for rejection, and `labels` [R].

    Whoever is rejected has not fooled the pipeline: where the last class is the largest its logit becomes the label's.
    So the arg-max is the label, and the margin rises with how far the detector's score is above its threshold.
    """
    classes, rejected = logits[:, :-1].copy(), np.flatnonzero(logits.argmax(axis=1) == logits.shape[1] - 1)
    classes[rejected, labels[rejected]] = logits[rejected, -1]
    return classes
