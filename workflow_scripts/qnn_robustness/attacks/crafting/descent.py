"""How Foolbox's gradient descents come by their gradients."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import eagerpy as ep
import numpy as np
from foolbox.models import Model

from qnn_robustness.attacks.crafting.array_model import ArrayModel

Gradient = Callable[[np.ndarray], tuple[np.ndarray, np.ndarray]]


class Descent:
    """For a descent on the cross-entropy: the gradient comes from the network's own compiled function, if it has one.

    It goes before a subclass of Foolbox's `BaseGradientDescent`, of which it overrides two methods made for that.
    """

    def get_loss_fn(self, model: Model, labels: ep.Tensor) -> Gradient:
        def loss(logits: ep.Tensor) -> ep.Tensor:
            return ep.crossentropy(logits, labels).sum()

        return partial(ArrayModel(model, labels).gradient, loss=loss)

    def value_and_grad(self, gradient: Gradient, x: ep.Tensor) -> tuple[None, ep.Tensor]:
        return None, ep.from_numpy(x, gradient(x.numpy())[1])
