"""The Linf attack of Carlini and Wagner (2017, section VI.C): push under a threshold, then lower it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from foolbox.attacks.base import Attack
from foolbox.distances import linf

from qnn_robustness.attacks.crafting import adam, balls, hinge
from qnn_robustness.attacks.crafting.array_attack import ArrayAttack
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.network import Network

ACCESS = "white_box"
NORMS = ("linf",)
BUDGETED = False


@dataclass(kw_only=True, repr=False, eq=False)
class LinfCarliniWagner(ArrayAttack):
    """Minimises c * f(x + d) + sum(max(|d| - tau, 0)), f the positive part of the logits' margin, by Adam.

    Each sample has its own threshold tau and constant c. As soon as an adversarial point within tau is
    found, tau falls to `threshold_factor` times its Linf distance; when `steps` steps find none, c grows by
    `constant_factor`. The search always goes on from where it is (warm start). A sample ends when c exceeds
    `largest_constant` or tau falls below `smallest_threshold`: within a factor of 1 / `threshold_factor` of
    what can be found.

    The box is kept by clipping after every step (section V.B, first method): with the change of variables
    the many values of 8-bit images at 0 and 1 could not move. Adam's rate is `step_size`, but at most
    `relative_step_size` * tau: a longer step oscillates about the threshold without meeting it.
    """

    distance = linf

    steps: int
    step_size: float
    relative_step_size: float
    confidence: float
    initial_constant: float
    constant_factor: float
    largest_constant: float
    threshold_factor: float
    smallest_threshold: float

    def search(self, network: Network, clean: np.ndarray, goal: Goal) -> np.ndarray:
        """Return the nearest adversarial inputs found; the inputs themselves where none was."""
        best, latest = clean.copy(), clean.copy()
        thresholds = np.ones(len(clean), np.float32)
        constants = np.full(len(clean), self.initial_constant, np.float32)
        active = np.arange(len(clean))
        while len(active):
            with network.only(active):
                points, found = self._descend(
                    network,
                    clean[active],
                    latest[active],
                    goal.only(active),
                    constants[active],
                    thresholds[active],
                )
            latest[active] = points
            best[active[found]] = points[found]
            constants[active[~found]] *= self.constant_factor
            reached = balls.lengths("linf", points - clean[active])
            thresholds[active[found]] = self.threshold_factor * reached[found]
            going_on = (constants[active] <= self.largest_constant) & (thresholds[active] >= self.smallest_threshold)
            active = active[going_on]
        return best

    def _descend(
        self,
        network: Network,
        clean: np.ndarray,
        start: np.ndarray,
        goal: Goal,
        constants: np.ndarray,
        thresholds: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Descend from `start` and return the points [N, ...] and whether they are adversarial within tau."""
        points, found = start.copy(), np.zeros(len(clean), bool)
        moments = adam.Moments(clean)
        rates = np.minimum(self.step_size, self.relative_step_size * thresholds)
        active = np.arange(len(clean))
        for step in range(1, self.steps + 1):
            with network.only(active):
                logits, gradient = hinge.pushed(
                    network, points[active], goal.only(active), constants[active], self.confidence
                )
            perturbation = points[active] - clean[active]
            missed = hinge.misses(goal.only(active), logits, self.confidence)
            success = ~missed & (balls.lengths("linf", perturbation) <= thresholds[active])
            found[active[success]] = True
            active, gradient = active[~success], gradient[~success]
            perturbation = perturbation[~success]
            if not len(active):
                break
            outside = np.abs(perturbation) > balls.column(thresholds[active], perturbation)
            gradient = gradient + np.sign(perturbation) * outside
            mean, root = moments.update(active, gradient, step)
            direction = mean / root
            moved = points[active] - balls.column(rates[active], direction) * direction
            points[active] = np.clip(moved, 0.0, 1.0).astype(np.float32)
        return points, found


def build(norm: str, **parameters: Any) -> Attack:
    """Return the attack; lengths are for inputs in [0, 1]."""
    return LinfCarliniWagner(**parameters)
