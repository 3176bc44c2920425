"""DeepFool (Moosavi-Dezfooli et al. 2016, algorithm 2): steps to the nearest linearised boundary (Foolbox)."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks import L2DeepFoolAttack, LinfDeepFoolAttack
from foolbox.attacks.base import Attack, get_criterion
from foolbox.criteria import Misclassification
from foolbox.models import Model

ACCESS = "white_box"
BUDGETED = False

STABILISER = 1e-4  # what Foolbox adds to each distance, in the unit of the norm
NUDGE = 3e-6  # what is added here, an L2 distance: past curved boundaries by more than rounding errors of the logits


class _FromLabel:
    """Leaves the class of the label. Foolbox leaves the class with the greatest logit, of two that tie the later one.

    A sample whose label is the earlier one would then be moved away from the boundary on which it lies. What Foolbox
    adds to each step is more than many distances in Linf: it is kept for ties alone, and the others get less.
    """

    def run(self, model: Model, inputs: Any, criterion: Any, **kwargs: Any) -> Any:
        """Return perturbed inputs [N, ...]. Raises ValueError for criteria other than misclassification."""
        criterion = get_criterion(criterion)
        if not isinstance(criterion, Misclassification):
            raise ValueError(f"expected the criterion Misclassification, got {criterion!r}")
        self._labels = criterion.labels
        self._nudge = self.nudge_for(math.prod(ep.astensor(inputs).shape[1:]))
        return super().run(model, inputs, criterion, **kwargs)

    def get_perturbations(self, distances: ep.Tensor, grads: ep.Tensor) -> ep.Tensor:
        exact = distances - STABILISER
        steps = super().get_perturbations(ep.where(exact > 0, exact + self._nudge, distances), grads)
        return ep.where(steps.abs() < np.inf, steps, 0.0)  # not a number where the gradient is none

    def _get_loss_fn(self, model: Model, classes: ep.Tensor) -> Callable:
        labels, order = ep.astensor(self._labels).numpy()[:, None], classes.numpy()
        others = order[order != labels].reshape(len(order), -1)
        return super()._get_loss_fn(model, ep.from_numpy(classes, np.concatenate([labels, others], axis=1)))


class L2DeepFool(_FromLabel, L2DeepFoolAttack):
    """The attack for the L2 distance."""

    @staticmethod
    def nudge_for(_: int) -> float:
        return NUDGE


class LinfDeepFool(_FromLabel, LinfDeepFoolAttack):
    """The attack for the Linf distance."""

    @staticmethod
    def nudge_for(size: int) -> float:
        return NUDGE / math.sqrt(size)


NORMS = {"linf": LinfDeepFool, "l2": L2DeepFool}


def build(norm: str, *, steps: int, overshoot: float) -> Attack:
    """Return the attack on the logits, over all classes."""
    return NORMS[norm](steps=steps, candidates=None, overshoot=overshoot, loss="logits")
