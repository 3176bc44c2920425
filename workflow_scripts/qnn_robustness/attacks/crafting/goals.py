"""What an attack wants from the scores of a network: the class of each sample, and the margin to it."""

from __future__ import annotations

from dataclasses import dataclass

import eagerpy as ep
import numpy as np
from foolbox.criteria import Criterion, Misclassification, TargetedMisclassification

from qnn_robustness.common.scores import predicted


@dataclass(frozen=True)
class Goal:
    """`classes` (int64 [N]) are to be predicted when `targeted`, and no longer to be predicted otherwise."""

    classes: np.ndarray
    targeted: bool

    @classmethod
    def of(cls, criterion: Criterion, samples: int) -> Goal:
        """Return the goal that a Foolbox criterion states for a number of samples.

        Raises ValueError for criteria other than misclassification, and for a wrong number of classes.
        """
        if isinstance(criterion, Misclassification):
            goal = cls(criterion.labels.numpy().astype(np.int64), False)
        elif isinstance(criterion, TargetedMisclassification):
            goal = cls(criterion.target_classes.numpy().astype(np.int64), True)
        else:
            raise ValueError(f"unsupported criterion {criterion!r}")
        if goal.classes.shape != (samples,):
            raise ValueError(f"expected one class for each of {samples} samples, got {goal.classes.shape}")
        return goal

    def check_classes(self, classes: int) -> None:
        """Raise ValueError for targets that are none of the classes of a network: they would count from the end."""
        outside = self.classes[(self.classes < 0) | (self.classes >= classes)]
        if self.targeted and len(outside):
            raise ValueError(f"target class {outside[0]} is none of the model's: 0 to {classes - 1}")

    def criterion(self) -> Criterion:
        """Return the goal as a Foolbox criterion on arrays."""
        return (TargetedMisclassification if self.targeted else Misclassification)(self.classes)

    def only(self, positions: np.ndarray) -> Goal:
        """Return the goal of some of the samples."""
        return Goal(self.classes[positions], self.targeted)

    def repeated(self, times: int) -> Goal:
        """Return the goal of the samples repeated as a whole, [times * N]."""
        return Goal(np.tile(self.classes, times), self.targeted)

    def reached(self, logits: np.ndarray) -> np.ndarray:
        """Return whose arg-max of the logits [N, K] is as wanted, bool [N]; a mere tie is not enough.

        Logits that are no numbers are misclassified, and no target.
        """
        return (predicted(logits) == self.classes) == self.targeted

    def own(self, logits: ep.Tensor) -> ep.Tensor:
        """Return the logit [N] of the class; differentiable."""
        return (logits * self._mask(logits, 1.0)).sum(axis=-1)

    def margin(self, logits: ep.Tensor) -> ep.Tensor:
        """Return by how much logits [N, K] miss the goal, [N]; at most 0 where reached; differentiable."""
        rest = (logits - self._mask(logits, np.inf)).max(axis=-1)
        return rest - self.own(logits) if self.targeted else self.own(logits) - rest

    def slopes(self, logits: np.ndarray) -> np.ndarray:
        """Return the derivative of `margin` by the logits, float32 [N, K]; the classes of a tie have equal parts."""
        own = np.eye(logits.shape[1], dtype=np.float32)[self.classes]
        rest = np.where(own > 0, -np.inf, logits)
        rivals = (rest == rest.max(axis=1, keepdims=True)).astype(np.float32)
        rivals /= rivals.sum(axis=1, keepdims=True)
        return rivals - own if self.targeted else own - rivals

    def _mask(self, logits: ep.Tensor, value: float) -> ep.Tensor:
        return ep.onehot_like(logits, ep.from_numpy(logits, self.classes), value=value)


def margins(goal: Goal, logits: np.ndarray) -> np.ndarray:
    """Return the margin of `goal` for logits in an array, in float32: integer scores would overflow."""
    return goal.margin(ep.astensor(logits.astype(np.float32))).numpy()
