"""A Foolbox model as a function of NumPy arrays, with the gradient where its framework has one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import eagerpy as ep
import numpy as np
from foolbox.models import Model
from foolbox.types import Bounds

from qnn_robustness.attacks.crafting.goals import Goal

# Inputs in one call when a sample asks several at once, and values of all of them: enough to be fast, small in memory.
ROWS, VALUES = 2048, 2**24
Weights = Callable[[np.ndarray], np.ndarray]


class ArrayModel:
    """`model` for callers who keep their state in arrays; `like` is a tensor of the model's framework.

    A `goal` is checked against the classes that the model turns out to have.
    """

    def __init__(self, model: Model, like: ep.Tensor, goal: Goal | None = None):
        self.model, self.like, self.goal = model, like, goal

    @property
    def bounds(self) -> Bounds:
        return self.model.bounds

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Return the scores (float32 [N, K]) of inputs [N, ...]."""
        outputs = ep.astensor(self.model(ep.from_numpy(self.like, inputs.astype(np.float32)).raw))
        return self._checked(outputs.numpy()).astype(np.float32)

    def slope(self, inputs: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
        """Return logits [R, K] and the gradient of sum(weights(logits) * logits), float32 [R, H, W, C].

        `weights` maps logits to constants [R, K]: the derivative of a loss by the logits gives the gradient
        of the loss, at the cost of one forward and one backward pass. What is no finite number in it is 0.
        """

        def constants(logits: np.ndarray) -> np.ndarray:
            return np.ascontiguousarray(weights(self._checked(logits)), dtype=np.float32)

        def weighted(values: ep.Tensor) -> tuple[ep.Tensor, ep.Tensor]:
            logits = self.model(values)
            return (logits * ep.from_numpy(logits, constants(logits.numpy()))).sum(), logits

        values = inputs.astype(np.float32)
        within = getattr(self.model, "slope", None)  # of networks that differentiate in one compiled function
        if within is not None:
            return _finite(*within(values, constants))
        differentiate = ep.value_and_grad_fn(self.like, weighted, has_aux=True)
        _, logits, gradient = differentiate(ep.from_numpy(self.like, values))
        return _finite(logits.numpy(), gradient.numpy())

    def _checked(self, logits: np.ndarray) -> np.ndarray:
        if self.goal is not None:
            self.goal.check_classes(logits.shape[1])
        return logits

    def gradient(self, inputs: np.ndarray, loss: Callable[[ep.Tensor], ep.Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """Return scores [N, K] of inputs [N, ...] and the gradient by them of `loss` (logits -> scalar)."""
        return self.slope(inputs, lambda logits: ep.value_and_grad(loss, ep.from_numpy(self.like, logits))[1].numpy())


def _finite(logits: np.ndarray, gradient: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return both, the gradient with 0 for what is no finite number: a step along it would leave the box for good."""
    finite = np.isfinite(gradient)
    return logits, gradient if finite.all() else np.where(finite, gradient, np.float32(0))


def rounds_at_once(shape: Sequence[int]) -> int:
    """Return how many inputs for each of the samples, together of `shape` [N, ...], go into one call."""
    return max(1, min(ROWS // max(1, shape[0]), VALUES // max(1, math.prod(shape))))
