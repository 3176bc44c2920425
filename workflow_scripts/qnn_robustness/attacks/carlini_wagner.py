"""The L2 attack of Carlini and Wagner (2017, section VI.A)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from foolbox.attacks.base import Attack
from foolbox.distances import l2

from qnn_robustness.attacks.crafting import adam
from qnn_robustness.attacks.crafting.constant_search import Best, ConstantSearch, Patience, squares
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.network import Network

ACCESS = "white_box"
BUDGETED = False

INSIDE = np.float32(0.999999)  # keeps the inverse hyperbolic tangent of 0 and 1 finite


@dataclass(kw_only=True, repr=False, eq=False)
class L2CarliniWagner(ConstantSearch):
    """Minimises |d|^2 + c * max(margin + confidence, 0) by Adam, with points (tanh(w) + 1) / 2 that stay in the box.

    `step_size` is Adam's rate in the space of w. The point of the last step is looked at, too.
    """

    distance = l2

    step_size: float

    def descend(self, network: Network, clean: np.ndarray, goal: Goal, constants: np.ndarray, best: Best) -> np.ndarray:
        start = np.arctanh((2 * clean - 1) * INSIDE)
        origin, w = (np.tanh(start) + 1) / 2, start.copy()
        moments, patience, found = adam.Moments(clean), Patience(self.steps + 1), np.zeros(len(clean), bool)
        for step in range(self.steps + 1):
            tangents = np.tanh(w)
            points = (tangents + 1) / 2
            logits, gradient = self.pushed(network, points, goal, constants)
            moves, reached = points - origin, self.reached(goal, logits)
            if self.abort_early and patience.ends(step, self.losses(goal, logits, constants, moves)):
                break
            found |= reached
            best.note(points, squares(points - clean), reached)
            slopes = (gradient + 2 * moves) * (1 - tangents**2) / 2
            mean, root = moments.update(slice(None), slopes, step + 1)
            w -= self.step_size * mean / root
        return found


NORMS = {"l2": L2CarliniWagner}


def build(norm: str, **parameters: Any) -> Attack:
    """Return the attack."""
    return NORMS[norm](**parameters)
