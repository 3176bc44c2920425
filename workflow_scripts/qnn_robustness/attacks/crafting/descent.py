"""Foolbox's gradient descents, in arrays."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks.base import get_criterion
from foolbox.models import Model

from qnn_robustness.attacks.crafting.array_model import ArrayModel
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.gradients import check_gradients

Gradient = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Descent:
    """A descent on the cross-entropy whose steps are taken in arrays, and whose gradient is the network's own.

    For a few samples Foolbox's steps as tensors, and the derivative of the loss from a tape, cost as much as the
    network. It goes before a subclass of Foolbox's `BaseGradientDescent`, of which it overrides two methods made for
    that.
    """

    def run(self, model: Model, inputs: Any, criterion: Any, *, epsilon: float, **arguments: Any) -> Any:
        """Return perturbed inputs [N, ...]. Raises ValueError for criteria other than (targeted) misclassification."""
        tensor, restore_type = ep.astensor_(inputs)
        check_gradients(self, model, tensor)
        goal = Goal.of(get_criterion(criterion), len(tensor))
        network = ArrayModel(model, tensor, goal)
        found = super().run(network, tensor.numpy(), goal.criterion(), epsilon=float(epsilon), **arguments)
        return restore_type(ep.from_numpy(tensor, found))

    def get_loss_fn(self, model: ArrayModel, labels: ep.Tensor) -> Gradient:
        def derivative(logits: np.ndarray) -> np.ndarray:
            scores = ep.astensor(logits)
            return (ep.softmax(scores) - ep.onehot_like(scores, labels)).numpy()

        return partial(model.slope, weights=derivative)

    def value_and_grad(self, gradient: Gradient, x: ep.Tensor) -> tuple[None, ep.Tensor]:
        return None, ep.astensor(gradient(x.numpy())[1])
