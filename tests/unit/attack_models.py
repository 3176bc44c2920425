"""Linear classifiers, whose smallest perturbations are known, as Foolbox models for the tests of attacks."""

from __future__ import annotations

from dataclasses import dataclass
from functools import cached_property
from typing import Any

import eagerpy as ep
import foolbox
import numpy as np
from foolbox.attacks.base import Attack

DUAL = {"l1": np.inf, "l2": 2, "linf": 1}


@dataclass(frozen=True)
class Linear:
    """Logits `inputs @ weights + bias` for samples [N, *shape]; `labels` are the predictions.

    Every row is computed by itself, in the same order of operations: results can be compared bit by bit.
    """

    samples: np.ndarray
    weights: np.ndarray
    bias: np.ndarray

    def logits(self, inputs: np.ndarray) -> np.ndarray:
        rows = np.asarray(inputs).reshape(len(inputs), -1, 1)
        return (rows * self.weights[None]).sum(axis=1) + self.bias

    @cached_property
    def labels(self) -> np.ndarray:
        return self.logits(self.samples).argmax(axis=1)

    def numpy_model(self) -> foolbox.NumPyModel:
        return foolbox.NumPyModel(self.logits, bounds=(0, 1))

    def tensorflow_model(self) -> foolbox.TensorFlowModel:
        import tensorflow as tf

        weights, bias = tf.constant(self.weights), tf.constant(self.bias)
        size = self.weights.shape[0]
        return foolbox.TensorFlowModel(lambda x: tf.reshape(x, (-1, size)) @ weights + bias, bounds=(0, 1))

    def nearest(self, norm: str) -> np.ndarray:
        """Return the smallest perturbation [N, D] to a boundary, for a box that is not in the way.

        Margin over the dual norm of the difference of the weights, at the nearest of the other classes.
        """
        logits = self.logits(self.samples).astype(np.float64)
        weights = self.weights.astype(np.float64)
        best, result = np.full(len(logits), np.inf), np.zeros((len(logits), len(weights)))
        for other in range(logits.shape[1]):
            difference = weights[:, other][None] - weights.T[self.labels]
            length = np.linalg.norm(difference, DUAL[norm], axis=1)
            gap = logits[np.arange(len(logits)), self.labels] - logits[:, other]
            with np.errstate(divide="ignore", invalid="ignore"):
                distance = np.where(self.labels == other, np.inf, gap / length)
            if norm == "l2":
                direction = difference / np.maximum(length, 1e-30)[:, None]
            elif norm == "linf":
                direction = np.sign(difference)
            else:
                direction = np.sign(difference) * (
                    np.arange(len(weights)) == np.abs(difference).argmax(axis=1)[:, None]
                )
            closer = distance < best
            best = np.where(closer, distance, best)
            result[closer] = distance[closer, None] * direction[closer]
        return result

    def distances(self, norm: str) -> np.ndarray:
        """Return the length [N] of the smallest perturbation; the box must not be in the way."""
        nearest = self.nearest(norm)
        inside = self.samples.reshape(nearest.shape) + nearest
        assert ((inside >= 0) & (inside <= 1)).all(), "the box is active"
        return np.linalg.norm(nearest, {"l1": 1, "l2": 2, "linf": np.inf}[norm], axis=1)


def linear(
    seed: int, samples: int = 6, shape: tuple[int, ...] = (2, 2, 3), classes: int = 3, margin: float = 0.1
) -> Linear:
    """Return a random linear classifier with samples in the middle of the box, near its boundaries.

    `margin` scales the distances: all classes are about equally likely at the centre of the box.
    """
    generator = np.random.default_rng(seed)
    size = int(np.prod(shape))
    weights = generator.normal(size=(size, classes)).astype(np.float32)
    bias = -0.5 * weights.sum(axis=0)
    centred = generator.uniform(0.5 - margin, 0.5 + margin, size=(samples, *shape)).astype(np.float32)
    return Linear(centred, weights, bias.astype(np.float32))


def native(model: foolbox.Model, values: np.ndarray) -> Any:
    """Return an array in the framework of the model."""
    inner = getattr(model, "model", model)
    if isinstance(inner, foolbox.TensorFlowModel):
        import tensorflow as tf

        return tf.constant(values)
    return values


def perturbed(attack: Attack, model: foolbox.Model, samples: np.ndarray, goal: Any, **extra: Any) -> np.ndarray:
    """Run an attack that minimises; `goal` is a Foolbox criterion, or the labels (int64 [N]) to leave."""
    criterion = foolbox.criteria.Misclassification(native(model, goal)) if isinstance(goal, np.ndarray) else goal
    _, found, _ = attack(model, native(model, samples), criterion, epsilons=None, **extra)
    return ep.astensor(found).numpy()


def aimed(model: foolbox.Model, targets: np.ndarray) -> foolbox.criteria.TargetedMisclassification:
    """Return the criterion of being classified as `targets` (int64 [N])."""
    return foolbox.criteria.TargetedMisclassification(native(model, targets))
