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
EDGE = 0.05  # values nearer than that to 0 or 1 are clipped


@dataclass(kw_only=True, repr=False, eq=False)
class L2CarliniWagner(ConstantSearch):
    """Minimises |d|^2 + c * max(margin + confidence, 0) by Adam, with points (tanh(w) + 1) / 2 that stay in the box.

    Next to the ends of the box the tangent is flat: black and white, of which images are full, would not move in any
    number of steps. Values within `EDGE` of an end are (w + 1) / 2 instead, clipped after every step (section V.B,
    first method). `step_size` is Adam's rate in the space of w. The point of the last step is looked at, too.
    """

    distance = l2

    step_size: float

    def descend(self, network: Network, clean: np.ndarray, goal: Goal, constants: np.ndarray, best: Best) -> np.ndarray:
        centred = 2 * clean - 1
        clipped = np.abs(centred) > 1 - 2 * EDGE
        w = np.where(clipped, centred, np.arctanh(centred * INSIDE))
        origin = (_squashed(w, clipped) + 1) / 2
        moments, patience, found = adam.Moments(clean), Patience(self.steps + 1), np.zeros(len(clean), bool)
        for step in range(self.steps + 1):
            w = np.where(clipped, np.clip(w, -1, 1), w)
            squashed = _squashed(w, clipped)
            points = (squashed + 1) / 2
            logits, gradient = self.pushed(network, points, goal, constants)
            moves, reached = points - origin, self.reached(goal, logits)
            if self.abort_early and patience.ends(step, self.losses(goal, logits, constants, moves)):
                break
            found |= reached
            best.note(points, squares(points - clean), reached)
            slopes = (gradient + 2 * moves) * np.where(clipped, 1, 1 - squashed**2) / 2
            mean, root = moments.update(slice(None), slopes, step + 1)
            w -= self.step_size * mean / root
        return found


def _squashed(w: np.ndarray, clipped: np.ndarray) -> np.ndarray:
    """Return the points, scaled to [-1, 1], of the variables w; those that are clipped stand for themselves."""
    return np.where(clipped, w, np.tanh(w))


NORMS = {"l2": L2CarliniWagner}


def build(norm: str, **parameters: Any) -> Attack:
    """Return the attack."""
    return NORMS[norm](**parameters)
