"""Auto-PGD (Croce and Hein 2020, algorithm 1): projected gradient ascent that sets its own step size."""

from __future__ import annotations

from math import ceil

import numpy as np
from foolbox.attacks.base import Attack

from qnn_robustness.attacks.crafting import balls, losses
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.attacks.crafting.survivors import Outcome, SurvivorsAttack, Task, in_turn
from qnn_robustness.common.scores import predicted

ACCESS = "white_box"
NORMS = balls.NORMS
BUDGETED = True

MOMENTUM = 0.75  # weight of the new step against the last one (algorithm 1)
RISING_SHARE = 0.75  # rho: below this share of rising steps since the last checkpoint the step size is halved


class APGD(SurvivorsAttack):
    """Maximises a loss within a ball of radius epsilon; a sample is left alone once it is misclassified.

    `loss` is ce, dlr, dlr_targeted or margin (crafting.losses). The targeted loss is run against each of the
    `targets` wrong classes with the largest clean logits in turn, every loss from `restarts` random starts.
    A run costs 1 + steps queries, and looking at the clean samples one.
    """

    def __init__(self, norm: str, *, loss: str, steps: int, restarts: int = 1, targets: int = 9):
        super().__init__(norm)
        self.loss, self.steps, self.restarts, self.targets = loss, steps, restarts, targets

    def check_classes(self, classes: int) -> None:
        losses.check_classes(self.loss, classes)

    def search(self, network: Network, task: Task, epsilon: float) -> Outcome:
        targets = min(self.targets, task.logits.shape[1] - 1) if self.loss == "dlr_targeted" else 1

        def stage(rank: int):
            return lambda network, task: self._climb(network, task, epsilon, rank)

        ranks = [rank for _ in range(self.restarts) for rank in range(1, targets + 1)]
        return in_turn(network, task, [stage(rank) for rank in ranks])

    def _climb(self, network: Network, task: Task, epsilon: float, rank: int) -> Outcome:
        """Run once from a random start, towards the wrong class of this rank if the loss is targeted."""
        climb = _Climb(self.norm, losses.LOSSES[self.loss], network, task, rank, epsilon)
        last_checkpoint, marks = 0, checkpoints(self.steps)
        for step in range(1, self.steps + 1):
            if not len(climb.rows):
                break
            climb.step(network, with_gradient=step < self.steps)
            if step in marks:
                climb.adapt(step - last_checkpoint)
                last_checkpoint = step
        return climb.outcome()


class _Climb:
    """One run: the samples that are not misclassified yet; `rows` are their positions in the task."""

    # What is dropped with a sample: points and gradients float32 [R, ...], the others [R].
    STATE = (
        "rows", "clean", "labels", "targets", "points", "previous", "gradients", "values", "best_points",
        "best_gradients", "best_values", "step_sizes", "rises", "checked_values", "just_halved",
    )  # fmt: skip

    def __init__(self, norm: str, loss: losses.Loss, network: Network, task: Task, rank: int, epsilon: float):
        count = len(task)
        self.norm, self.loss, self.epsilon, self.weight = norm, loss, epsilon, 1.0
        self.result = Outcome(task.clean.copy(), np.zeros(count, bool))
        self.rows, self.clean, self.labels = np.arange(count), task.clean, task.labels
        self.targets = losses.ranked_class(task.logits, task.labels, rank)
        self.step_sizes = np.full(count, 2 * epsilon, np.float32)
        self.rises, self.just_halved = np.zeros(count, np.int64), np.zeros(count, bool)
        self.points = self.previous = balls.random_points(norm, network, task.clean, epsilon)
        logits, self.gradients = self._evaluate(network, with_gradient=True)
        self.values = self.loss(logits, self.labels, self.targets)[0]
        self.best_points, self.best_gradients, self.best_values = self.points, self.gradients, self.values
        self.checked_values = self.values
        self._drop(predicted(logits) != self.labels)

    def step(self, network: Network, with_gradient: bool) -> None:
        """Move by a projected gradient step, with momentum from the second on, and look at the loss there."""
        ahead = balls.column(self.step_sizes, self.points) * balls.steepest(self.norm, self.gradients)
        ahead = balls.project(self.norm, self.points + ahead, self.clean, self.epsilon)
        mixed = self.points + self.weight * (ahead - self.points)
        mixed += (1 - self.weight) * (self.points - self.previous)
        self.previous, self.weight = self.points, MOMENTUM
        self.points = balls.project(self.norm, mixed, self.clean, self.epsilon)
        logits, self.gradients = self._evaluate(network, with_gradient)
        values = self.loss(logits, self.labels, self.targets)[0]
        self.rises, self.values = self.rises + (values > self.values), values
        self._drop(predicted(logits) != self.labels)
        self._remember_best()

    def adapt(self, window: int) -> None:
        """Halve step sizes at a checkpoint, `window` steps after the last, and go back to the best point.

        Condition 1: too few steps raised the loss. Condition 2: neither the step size nor the best loss has
        changed since the last checkpoint.
        """
        stuck = ~self.just_halved & (self.best_values == self.checked_values)
        halve = (self.rises < RISING_SHARE * window) | stuck
        mask = balls.column(halve, self.points)
        self.step_sizes = np.where(halve, self.step_sizes / 2, self.step_sizes)
        self.points = np.where(mask, self.best_points, self.points)
        self.gradients = np.where(mask, self.best_gradients, self.gradients)
        self.values = np.where(halve, self.best_values, self.values)
        self.just_halved, self.checked_values = halve, self.best_values
        self.rises = np.zeros_like(self.rises)

    def outcome(self) -> Outcome:
        """Return the misclassified points, and the points of largest loss of the samples that are left."""
        self.result.points[self.rows] = self.best_points
        return self.result

    def _evaluate(self, network: Network, with_gradient: bool) -> tuple[np.ndarray, np.ndarray]:
        """Return the logits at the points and the gradient of the loss (the former one if none is wanted)."""

        def slopes(logits: np.ndarray) -> np.ndarray:
            return self.loss(logits, self.labels, self.targets)[1]

        with network.only(self.rows):
            if with_gradient:
                return network.slope(self.points, slopes)
            return network.logits(self.points), self.gradients

    def _remember_best(self) -> None:
        better = self.values >= self.best_values  # or as good: saturated scores are a plateau to be left
        mask = balls.column(better, self.points)
        self.best_values = np.where(better, self.values, self.best_values)
        self.best_points = np.where(mask, self.points, self.best_points)
        self.best_gradients = np.where(mask, self.gradients, self.best_gradients)

    def _drop(self, fooled: np.ndarray) -> None:
        if not fooled.any():
            return
        self.result.points[self.rows[fooled]] = self.points[fooled]
        self.result.fooled[self.rows[fooled]] = True
        for name in self.STATE:
            setattr(self, name, getattr(self, name)[~fooled])


def checkpoints(steps: int) -> list[int]:
    """Return the steps after which the step size is reconsidered (section 3 of the paper).

    They are ceil(p_j * steps) with p_1 = 0.22 and p_{j+1} = p_j + max(p_j - p_{j-1} - 0.03, 0.06).
    """
    hundredths, marks = [0, 22], []  # whole numbers: 0.22 + 0.19 + 0.16 is not 0.57 in binary
    while hundredths[-1] <= 100:
        marks.append(ceil(hundredths[-1] * steps / 100))
        hundredths.append(hundredths[-1] + max(hundredths[-1] - hundredths[-2] - 3, 6))
    return sorted(set(marks))


def build(norm: str, *, loss: str, steps: int, restarts: int, targets: int) -> Attack:
    """Return the attack; `targets` counts for the targeted loss alone."""
    return APGD(norm, loss=loss, steps=steps, restarts=restarts, targets=targets)


def check_classes(classes: int, *, loss: str, **parameters: int) -> None:
    """Raise UserError if the loss is not defined for this number of classes."""
    losses.check_classes(loss, classes)
