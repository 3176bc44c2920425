"""DeepFool (Moosavi-Dezfooli et al. 2016, algorithm 2): steps to the nearest linearised boundary."""

from __future__ import annotations

import math

import numpy as np
from foolbox.attacks.base import Attack
from foolbox.distances import Distance

from qnn_robustness.attacks.crafting import balls
from qnn_robustness.attacks.crafting.array_attack import ArrayAttack
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.attacks.crafting.planes import nearest_plane
from qnn_robustness.attacks.crafting.survivors import DISTANCES

ACCESS = "white_box"
NORMS = balls.NORMS
BUDGETED = False

TIED = 1e-4  # the length of a step off a boundary, in the unit of the norm
NUDGE = 3e-6  # an L2 distance that is added to other steps: past curved boundaries by more than rounding of the logits
TINY = 1e-8


class DeepFool(ArrayAttack):
    """Steps to the nearest of the linearised boundaries to all other classes until the class of the label is left.

    All steps together are lengthened by the share `overshoot`. Each step goes a `NUDGE` past the boundary; a sample
    whose logits tie lies on it and takes a step of the length `TIED`.
    """

    def __init__(self, norm: str, *, steps: int, overshoot: float):
        self.norm, self.steps, self.overshoot = norm, steps, overshoot

    @property
    def distance(self) -> Distance:
        return DISTANCES[self.norm]

    def search(self, network: Network, clean: np.ndarray, goal: Goal) -> np.ndarray:
        """Return the perturbed inputs. Raises ValueError for criteria other than misclassification."""
        if goal.targeted:
            raise ValueError("expected the criterion Misclassification, got a target")
        points, moves, left = clean.copy(), np.zeros_like(clean), np.arange(len(clean))
        for _ in range(self.steps):
            with network.only(left):
                logits = network.logits(points[left])
            left = left[~goal.only(left).reached(logits)]
            if not len(left):
                break
            with network.only(left):
                moves[left] += self._step(network, points[left], goal.classes[left], logits.shape[1])
            points[left] = np.clip(clean[left] + (1 + self.overshoot) * moves[left], 0, 1)
        return points

    def _step(self, network: Network, points: np.ndarray, labels: np.ndarray, classes: int) -> np.ndarray:
        """Return the steps [N, H, W, C] past the nearest boundaries."""
        gaps, normals = nearest_plane(self.norm, network, points, labels, classes)
        lengths = balls.dual_lengths(self.norm, normals) + TINY
        nudge = NUDGE / math.sqrt(normals.shape[1]) if self.norm == "linf" else NUDGE
        far = np.where(gaps > 0, gaps / lengths + nudge, TIED).astype(np.float32)[:, None]
        steps = far * (np.sign(normals) if self.norm == "linf" else normals / lengths[:, None])
        return steps.reshape(points.shape)


def build(norm: str, *, steps: int, overshoot: float) -> Attack:
    """Return the attack on the logits, over all classes."""
    return DeepFool(norm, steps=steps, overshoot=overshoot)
