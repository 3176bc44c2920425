"""FMN, the fast minimum-norm attack (Pintor et al. 2021, algorithm 1)."""

from __future__ import annotations

import math

import eagerpy as ep
import numpy as np
from foolbox import distances
from foolbox.attacks.base import Attack
from foolbox.attacks.fast_minimum_norm import project_onto_l1_ball

from qnn_robustness.attacks.crafting.array_attack import ArrayAttack
from qnn_robustness.attacks.crafting.balls import TINY
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.losses import margin
from qnn_robustness.attacks.crafting.network import Network

ACCESS = "white_box"
NORMS = {"linf": distances.linf, "l2": distances.l2, "l1": distances.l1}
BUDGETED = False

ORDERS = {"linf": np.inf, "l2": 2, "l1": 1}
DUALS = {"linf": 1, "l2": 2, "l1": np.inf}
LAST_STEP = 0.01  # as a share of the first one
LAST_GAMMA = 0.001
PAST = 1e-4  # as a share of the length: far above the rounding of float32, far below any distance that matters
STEP = 0.51 / 255  # changes an input of 8 bits


class FMN(ArrayAttack):
    """Steps along the gradient of the margin, projected onto a ball whose radius seeks the boundary.

    The radius shrinks while the sample is as wanted and grows while it is not. Until a sample is found for the first
    time it is what the margin suggests, and grows all the same: published, it is the length that the box has left of
    the last step and the way to the linearised boundary, which near the edges of the box ends for good before the
    boundary. A projection goes a little `PAST` the radius. On a linear part of the network that ends on the boundary
    itself; where rounding then leaves the sample on the wrong side it would stay there. The scores of integer networks
    tie: a clean sample on the boundary has no margin, and gets the radius of one `STEP` of every value.
    """

    def __init__(self, norm: str, *, steps: int, step_size: float, gamma: float):
        self.norm, self.steps, self.step_size, self.gamma = norm, steps, step_size, gamma

    @property
    def distance(self) -> distances.Distance:
        return NORMS[self.norm]

    def search(self, network: Network, clean: np.ndarray, goal: Goal) -> np.ndarray:
        """Return the nearest adversarial inputs found; the inputs themselves where none was."""
        start = clean.reshape(len(clean), -1)
        farthest = self._lengths(np.maximum(start, 1 - start))
        moves, best, nearest = np.zeros_like(start), np.zeros_like(start), farthest.copy()
        radii, found = np.zeros(len(clean), np.float32), np.zeros(len(clean), bool)
        for step in range(self.steps):
            share = (1 + math.cos(math.pi * step / self.steps)) / 2
            gamma = LAST_GAMMA + (self.gamma - LAST_GAMMA) * share
            reached, ways, slopes = self._look(network, (start + moves).reshape(clean.shape), goal)
            lengths = self._lengths(moves)
            better = reached & (lengths <= nearest)
            best[better], nearest[better], found = moves[better], lengths[better], found | reached
            larger = (1 + gamma) * radii
            outside = np.where(found, larger, np.maximum(larger, lengths + ways))
            radii = np.where(reached, np.minimum((1 - gamma) * radii, self._lengths(best)), outside)
            radii = np.minimum(radii, farthest).astype(np.float32)
            directions = slopes / np.maximum(np.linalg.norm(slopes, axis=1, keepdims=True), TINY)
            moved = moves + np.float32(self.step_size * (LAST_STEP + (1 - LAST_STEP) * share)) * directions
            moves = np.clip(start + self.projected(moved, radii), 0, 1) - start
        return (start + best).reshape(clean.shape)

    def _look(self, network: Network, points: np.ndarray, goal: Goal) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
        """Return who is as wanted [N], how far the linearised boundary is [N], and the margin's gradient [N, D]."""
        sign = -1 if goal.targeted else 1

        def weights(logits: np.ndarray) -> np.ndarray:
            return sign * margin(logits, goal.classes, goal.classes)[1]

        logits, slopes = network.slope(points, weights)
        slopes = slopes.reshape(len(points), -1)
        margins = np.abs(margin(logits, goal.classes, goal.classes)[0])
        return goal.reached(logits), margins / np.maximum(self._lengths(slopes, DUALS), TINY), slopes

    def projected(self, moves: np.ndarray, radii: np.ndarray) -> np.ndarray:
        """Return perturbations [N, D] brought to a length of at most `radii` [N] and a little more."""
        one_level = STEP * self._lengths(np.ones((1, moves.shape[1]), np.float32))
        radii = np.where(radii > 0, (1 + PAST) * radii, one_level).astype(np.float32)
        if self.norm == "l1":
            return project_onto_l1_ball(ep.astensor(moves), ep.astensor(radii)).numpy()
        if self.norm == "linf":
            return np.clip(moves, -radii[:, None], radii[:, None])
        return moves * np.minimum(1, radii / np.maximum(self._lengths(moves), TINY))[:, None]

    def _lengths(self, values: np.ndarray, orders: dict[str, float] = ORDERS) -> np.ndarray:
        return np.linalg.norm(values, orders[self.norm], axis=1)


def build(norm: str, *, steps: int, step_size: float, gamma: float) -> Attack:
    """Return the attack; `step_size` is the first L2 length of a step, for inputs in [0, 1]."""
    return FMN(norm, steps=steps, step_size=step_size, gamma=gamma)
