"""DDN, decoupled direction and norm (Rony et al. 2019, algorithm 1)."""

from __future__ import annotations

import math

import numpy as np
from foolbox import distances
from foolbox.attacks.base import Attack

from qnn_robustness.attacks.crafting import balls
from qnn_robustness.attacks.crafting.array_attack import ArrayAttack
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.losses import cross_entropy
from qnn_robustness.attacks.crafting.network import Network

ACCESS = "white_box"
NORMS = {"l2": distances.l2}
BUDGETED = False

FIRST_STEP, LAST_STEP = 1.0, 0.01  # L2 lengths of the steps along the gradient, with a cosine between them


class DDN(ArrayAttack):
    """Steps along the gradient of the cross-entropy, brought to a sphere whose radius seeks the boundary.

    The radius shrinks by the share `gamma` while the sample is as wanted, and grows by it while it is not. Where the
    gradient vanishes the step is random.
    """

    distance = distances.l2

    def __init__(self, *, steps: int, initial_radius: float, gamma: float):
        self.steps, self.initial_radius, self.gamma = steps, initial_radius, gamma

    def search(self, network: Network, clean: np.ndarray, goal: Goal) -> np.ndarray:
        """Return the nearest adversarial inputs found; the inputs themselves where none was."""
        farthest = balls.lengths("l2", np.maximum(clean, 1 - clean))
        moves, best, nearest = np.zeros_like(clean), np.zeros_like(clean), farthest.copy()
        radii = np.full(len(clean), self.initial_radius, np.float32)
        for step in range(self.steps):
            size = LAST_STEP + (FIRST_STEP - LAST_STEP) * (1 + math.cos(math.pi * step / self.steps)) / 2
            reached, directions = self._look(network, clean + moves, goal)
            lengths = balls.lengths("l2", moves)
            better = reached & (lengths <= nearest)
            best[better], nearest[better] = moves[better], lengths[better]
            moves += np.float32(size) * directions
            radii = np.minimum(radii * np.where(reached, 1 - self.gamma, 1 + self.gamma), farthest).astype(np.float32)
            moves *= balls.column(radii / np.maximum(balls.lengths("l2", moves), balls.TINY), moves)
            moves = np.clip(clean + moves, 0, 1) - clean
        return clean + best

    @staticmethod
    def _look(network: Network, points: np.ndarray, goal: Goal) -> tuple[np.ndarray, np.ndarray]:
        """Return who is as wanted [N], and directions [N, H, W, C] of length one towards that."""
        sign = -1 if goal.targeted else 1

        def weights(logits: np.ndarray) -> np.ndarray:
            return sign * cross_entropy(logits, goal.classes, goal.classes)[1]

        logits, slopes = network.slope(points, weights)
        vanished = np.flatnonzero(~slopes.reshape(len(slopes), -1).any(axis=1))
        if len(vanished):
            slopes = slopes.copy()
            with network.only(vanished):
                slopes[vanished] = network.normal((len(vanished), *points.shape[1:]))
        return goal.reached(logits), balls.steepest("l2", slopes)


def build(norm: str, *, steps: int, initial_radius: float, gamma: float) -> Attack:
    """Return the attack; `initial_radius` is the first L2 length, for inputs in [0, 1]."""
    return DDN(steps=steps, initial_radius=initial_radius, gamma=gamma)
