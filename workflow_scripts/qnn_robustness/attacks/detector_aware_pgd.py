"""Projected gradient descent on a network that a detector watches: what counts is misclassified and not rejected.

The attacker with full knowledge of Carlini and Wagner (2017, Adversarial examples are not easily detected) takes the
detector into the loss: here one that rises towards misclassification, less a penalty while the detector rejects.
"""

from __future__ import annotations

import numpy as np
from foolbox.attacks.base import Attack

from qnn_robustness.attacks.crafting import balls, losses
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.attacks.crafting.survivors import Outcome, SurvivorsAttack, Task, in_turn
from qnn_robustness.common.scores import predicted

ACCESS = "white_box"
NORMS = balls.NORMS
BUDGETED = True
REJECTION = True  # the last class of the network stands for rejection


def loss(logits: np.ndarray, labels: np.ndarray, weight: float) -> losses.Losses:
    """Return margin(z, y) - weight x max(0, s) and its derivative by the logits, float64 [N] and [N, K + 1].

    `logits` are those of a network with the class `rejected` last: z are the others, and s, how far the detector's
    score is above its threshold, is the last less the largest of the others. The margin is max over i != y of z_i,
    less z_y: it rises beyond the boundary too, where the squeezed networks have to follow.
    """
    rows, classes = np.arange(len(labels)), logits[:, :-1]
    largest = classes.argmax(axis=1)
    excess = np.maximum(logits[:, -1].astype(np.float64) - classes[rows, largest], 0)  # -inf is never rejected
    values, slopes = losses.margin(classes, labels, labels)
    penalty = weight * (excess > 0)
    slopes = np.concatenate([slopes, -penalty[:, None]], axis=1)
    slopes[rows, largest] += penalty
    return values - penalty * excess, slopes


class DetectorAwarePGD(SurvivorsAttack):
    """Steps along the gradient of `loss`, in the first run from the clean sample and in others from random points.

    The clean sample is accepted as a rule, and noise may never be again. A sample that evades is left alone. A run
    costs 1 + steps queries, and looking at the clean samples one. Samples that evade when clean come back as they are;
    those that are rejected do not, since another precision or other kernels may accept them.
    """

    def __init__(self, norm: str, *, steps: int, relative_step_size: float, restarts: int, weight: float):
        super().__init__(norm)
        self.steps, self.relative_step_size, self.restarts, self.weight = steps, relative_step_size, restarts, weight

    def done(self, task: Task) -> np.ndarray:
        return _evading(task.logits, task.labels)

    def search(self, network: Network, task: Task, epsilon: float) -> Outcome:
        def from_clean(network: Network, task: Task) -> Outcome:
            return self._climb(network, task, task.clean, epsilon)

        def from_noise(network: Network, task: Task) -> Outcome:
            return self._climb(network, task, balls.random_points(self.norm, network, task.clean, epsilon), epsilon)

        return in_turn(network, task, [from_clean, *[from_noise] * (self.restarts - 1)])

    def _climb(self, network: Network, task: Task, points: np.ndarray, epsilon: float) -> Outcome:
        result, left = Outcome(task.clean.copy(), np.zeros(len(task), bool)), np.arange(len(task))
        for step in range(self.steps + 1):
            labels, clean = task.labels[left], task.clean[left]
            with network.only(left):
                logits, gradients = network.slope(points, lambda z, y=labels: loss(z, y, self.weight)[1])
            evading = _evading(logits, labels)
            result.points[left], result.fooled[left] = points, evading
            left, going = left[~evading], ~evading
            if step == self.steps or not len(left):
                break
            ahead = points[going] + self.relative_step_size * epsilon * balls.steepest(self.norm, gradients[going])
            points = balls.project(self.norm, ahead, clean[going], epsilon)
        return result


def _evading(logits: np.ndarray, labels: np.ndarray) -> np.ndarray:
    """Return which samples [N] are misclassified and not rejected."""
    predictions = predicted(logits)
    return (predictions != labels) & (predictions != logits.shape[1] - 1)


def build(norm: str, *, steps: int, relative_step_size: float, restarts: int, weight: float) -> Attack:
    """Return the attack; `relative_step_size` is a share of the budget."""
    return DetectorAwarePGD(norm, steps=steps, relative_step_size=relative_step_size, restarts=restarts, weight=weight)
