"""A Foolbox model as a function of NumPy arrays, with the gradient where its framework has one."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from functools import partial

import eagerpy as ep
import numpy as np
from foolbox.models import Model

# Inputs in one call when a sample asks several at once, and values of all of them: enough to be fast, small in memory.
ROWS, VALUES = 2048, 2**24


class ArrayModel:
    """`model` for callers who keep their state in arrays; `like` is a tensor of the model's framework."""

    def __init__(self, model: Model, like: ep.Tensor):
        self.model, self.like = model, like

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        """Return the scores (float32 [N, K]) of inputs [N, ...]."""
        outputs = ep.astensor(self.model(ep.from_numpy(self.like, inputs.astype(np.float32)).raw))
        return outputs.numpy().astype(np.float32)

    def gradient(self, inputs: np.ndarray, loss: Callable[[ep.Tensor], ep.Tensor]) -> tuple[np.ndarray, np.ndarray]:
        """Return scores [N, K] of inputs [N, ...] and the gradient by them of `loss` (logits -> scalar)."""
        slope = getattr(self.model, "slope", None)
        if slope is not None:
            return slope(inputs.astype(np.float32), partial(self._derivative, loss))

        def evaluated(values: ep.Tensor) -> tuple[ep.Tensor, ep.Tensor]:
            logits = self.model(values)
            return loss(logits), logits

        differentiate = ep.value_and_grad_fn(self.like, evaluated, has_aux=True)
        _, logits, gradient = differentiate(ep.from_numpy(self.like, inputs.astype(np.float32)))
        return logits.numpy(), gradient.numpy()

    def _derivative(self, loss: Callable[[ep.Tensor], ep.Tensor], logits: np.ndarray) -> np.ndarray:
        return ep.value_and_grad(loss, ep.from_numpy(self.like, logits))[1].numpy()


def rounds_at_once(shape: Sequence[int]) -> int:
    """Return how many inputs for each of the samples, together of `shape` [N, ...], go into one call."""
    return max(1, min(ROWS // max(1, shape[0]), VALUES // max(1, math.prod(shape))))
