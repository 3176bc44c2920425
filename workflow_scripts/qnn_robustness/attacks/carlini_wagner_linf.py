"""The Linf attack of Carlini and Wagner (2017, section VI.C): push under a threshold, then lower it."""

from __future__ import annotations

from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks.base import Attack, MinimizationAttack, get_criterion, raise_if_kwargs
from foolbox.distances import linf
from foolbox.models import Model

from qnn_robustness.attacks.crafting import balls
from qnn_robustness.attacks.crafting.active import narrowed
from qnn_robustness.attacks.crafting.array_model import ArrayModel
from qnn_robustness.attacks.crafting.goals import Goal, margins

ACCESS = "white_box"
NORMS = ("linf",)
BUDGETED = False
DECAY_OF_MEAN, DECAY_OF_SQUARE, TINY = 0.9, 0.999, 1e-8  # Adam, as published


class LinfCarliniWagner(MinimizationAttack):
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

    def __init__(
        self,
        *,
        steps: int,
        step_size: float,
        relative_step_size: float,
        confidence: float,
        initial_constant: float,
        constant_factor: float,
        largest_constant: float,
        threshold_factor: float,
        smallest_threshold: float,
    ):
        self.steps = steps
        self.step_size = step_size
        self.relative_step_size = relative_step_size
        self.confidence = confidence
        self.initial_constant = initial_constant
        self.constant_factor = constant_factor
        self.largest_constant = largest_constant
        self.threshold_factor = threshold_factor
        self.smallest_threshold = smallest_threshold

    def run(
        self,
        model: Model,
        inputs: Any,
        criterion: Any,
        *,
        early_stop: float | None = None,
        **kwargs: Any,
    ) -> Any:
        """Return the nearest adversarial inputs found; the inputs themselves where none was."""
        raise_if_kwargs(kwargs)
        x, restore_type = ep.astensor_(inputs)
        goal = Goal.of(get_criterion(criterion), len(x))
        arrays, clean = ArrayModel(model, x), x.numpy()
        best, latest = clean.copy(), clean.copy()
        thresholds = np.ones(len(clean), np.float32)
        constants = np.full(len(clean), self.initial_constant, np.float32)
        active = np.arange(len(clean))
        while len(active):
            with narrowed(model, active):
                points, found = self._search(
                    arrays,
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
        return restore_type(ep.from_numpy(x, best))

    def _search(
        self,
        model: ArrayModel,
        clean: np.ndarray,
        start: np.ndarray,
        goal: Goal,
        constants: np.ndarray,
        thresholds: np.ndarray,
    ) -> tuple[np.ndarray, np.ndarray]:
        """Descend from `start` and return the points [N, ...] and whether they are adversarial within tau."""
        points, found = start.copy(), np.zeros(len(clean), bool)
        mean, square = np.zeros_like(clean), np.zeros_like(clean)
        rates = np.minimum(self.step_size, self.relative_step_size * thresholds)
        active = np.arange(len(clean))
        for step in range(1, self.steps + 1):
            with narrowed(model.model, active):
                missed, gradient = self._slope(model, points[active], goal.only(active), constants[active])
            perturbation = points[active] - clean[active]
            success = ~missed & (balls.lengths("linf", perturbation) <= thresholds[active])
            found[active[success]] = True
            active, gradient = active[~success], gradient[~success]
            perturbation = perturbation[~success]
            if not len(active):
                break
            outside = np.abs(perturbation) > balls.column(thresholds[active], perturbation)
            gradient = gradient + np.sign(perturbation) * outside
            mean[active] += (1 - DECAY_OF_MEAN) * (gradient - mean[active])
            square[active] += (1 - DECAY_OF_SQUARE) * (gradient**2 - square[active])
            direction = (mean[active] / (1 - DECAY_OF_MEAN**step)) / (
                np.sqrt(square[active] / (1 - DECAY_OF_SQUARE**step)) + TINY
            )
            moved = points[active] - balls.column(rates[active], direction) * direction
            points[active] = np.clip(moved, 0.0, 1.0).astype(np.float32)
        return points, found

    def _slope(
        self, model: ArrayModel, inputs: np.ndarray, goal: Goal, constants: np.ndarray
    ) -> tuple[np.ndarray, np.ndarray]:
        """Return who misses the goal (with the confidence), and the gradient of c * f."""

        def misses(scores: np.ndarray) -> np.ndarray:
            # a tie misses the goal with a margin of 0: it must be pushed on, as the positive part would not
            return ~goal.reached(scores) | (margins(goal, scores) > -self.confidence)

        def loss(scores: ep.Tensor) -> ep.Tensor:
            weights = constants * misses(scores.numpy())
            return (ep.from_numpy(scores, weights) * goal.margin(scores)).sum()

        logits, gradient = model.gradient(inputs, loss)
        return misses(logits), gradient


def build(
    norm: str,
    *,
    steps: int,
    step_size: float,
    relative_step_size: float,
    confidence: float,
    initial_constant: float,
    constant_factor: float,
    largest_constant: float,
    threshold_factor: float,
    smallest_threshold: float,
) -> Attack:
    """Return the attack; lengths are for inputs in [0, 1]."""
    return LinfCarliniWagner(
        steps=steps,
        step_size=step_size,
        relative_step_size=relative_step_size,
        confidence=confidence,
        initial_constant=initial_constant,
        constant_factor=constant_factor,
        largest_constant=largest_constant,
        threshold_factor=threshold_factor,
        smallest_threshold=smallest_threshold,
    )
