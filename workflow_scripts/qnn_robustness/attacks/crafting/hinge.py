"""What the attacks of Carlini and Wagner (2017) and EAD push with: c * max(margin + confidence, 0)."""

from __future__ import annotations

import numpy as np

from qnn_robustness.attacks.crafting.goals import Goal, margins
from qnn_robustness.attacks.crafting.network import Network


def misses(goal: Goal, logits: np.ndarray, confidence: float) -> np.ndarray:
    """Return who misses the goal, or reaches it with a margin below `confidence`, bool [N].

    A tie misses it with a margin of 0: it must be pushed on, as the positive part alone would not.
    """
    return ~goal.reached(logits) | (margins(goal, logits) > -confidence)


def pushed(
    network: Network, points: np.ndarray, goal: Goal, constants: np.ndarray, confidence: float
) -> tuple[np.ndarray, np.ndarray]:
    """Return the logits [N, K] of points [N, ...], and the gradient of what is pushed with, float32 like the points."""

    def weights(logits: np.ndarray) -> np.ndarray:
        return (constants * misses(goal, logits, confidence))[:, None] * goal.slopes(logits)

    return network.slope(points, weights)
