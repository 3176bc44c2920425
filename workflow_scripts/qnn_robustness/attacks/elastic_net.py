"""EAD, the elastic-net attack (Chen et al. 2018, algorithm 1)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from foolbox.attacks.base import Attack
from foolbox.distances import l1

from qnn_robustness.attacks.crafting.constant_search import Best, ConstantSearch, Patience, squares
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.network import Network

ACCESS = "white_box"
BUDGETED = False


@dataclass(kw_only=True, repr=False, eq=False)
class ElasticNet(ConstantSearch):
    """Minimises |d|_2^2 + beta |d|_1 + c * max(margin + confidence, 0) by accelerated shrinkage and thresholding.

    `regularization` is beta, the weight of the L1 term in equation 7. The step size falls with the square root of the
    steps left. The best sample is that of the least `decision_rule`: EN, the distance above, or L1.
    """

    distance = l1

    initial_step_size: float
    regularization: float
    decision_rule: str

    def descend(self, network: Network, clean: np.ndarray, goal: Goal, constants: np.ndarray, best: Best) -> np.ndarray:
        points = ahead = clean
        patience, found = Patience(self.steps), np.zeros(len(clean), bool)
        for step in range(self.steps):
            rate = self.initial_step_size * (1 - step / self.steps) ** 0.5
            logits, gradient = self.pushed(network, ahead, goal, constants)
            if self.abort_early and patience.ends(step, self.losses(goal, logits, constants, ahead - clean)):
                break
            before, points = points, self._shrunk(ahead - rate * (gradient + 2 * (ahead - clean)), clean)
            ahead = points + step / (step + 3) * (points - before)
            reached = self.reached(goal, network.logits(points))
            found |= reached
            best.note(points, self._lengths(points - clean), reached)
        return found

    def _shrunk(self, points: np.ndarray, clean: np.ndarray) -> np.ndarray:
        """Return the points moved by beta towards the clean samples, to these where that is nearer; in the box."""
        moves = points - clean
        shrunk = np.clip(points - np.copysign(np.float32(self.regularization), moves), 0, 1)
        return np.where(np.abs(moves) > self.regularization, shrunk, clean)

    def _lengths(self, moves: np.ndarray) -> np.ndarray:
        absolute = np.abs(moves).reshape(len(moves), -1).sum(axis=1)
        return absolute if self.decision_rule == "L1" else self.regularization * absolute + squares(moves)


NORMS = {"l1": ElasticNet}


def build(norm: str, **parameters: Any) -> Attack:
    """Return the attack."""
    return NORMS[norm](**parameters)
