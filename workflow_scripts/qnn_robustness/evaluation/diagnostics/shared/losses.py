"""The losses whose gradients are looked at: as attacks differentiate them, and exactly from logits."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import eagerpy as ep
import numpy as np

from qnn_robustness.attacks.crafting import losses
from qnn_robustness.attacks.crafting.goals import Goal


@dataclass(frozen=True)
class Loss:
    """A loss that rises towards misclassification.

    `differentiable` maps logits [N, K] and labels [N] to the sum over samples; `values` maps them to float64 [N].
    """

    differentiable: Callable[[ep.Tensor, np.ndarray], ep.Tensor]
    values: Callable[[np.ndarray, np.ndarray], np.ndarray]


def _cross_entropy(logits: ep.Tensor, labels: np.ndarray) -> ep.Tensor:
    return ep.crossentropy(logits, ep.from_numpy(logits, labels)).sum()


def _margin(logits: ep.Tensor, labels: np.ndarray) -> ep.Tensor:
    return -Goal(labels, targeted=False).margin(logits).sum()


# The cross-entropy is what PGD ascends; in float32 its softmax saturates. The margin (largest wrong logit minus that of
# the label) cannot saturate: where only the cross-entropy vanishes, the softmax is to blame and not the network.
LOSSES = {
    "cross_entropy": Loss(_cross_entropy, lambda logits, labels: losses.cross_entropy(logits, labels, labels)[0]),
    "margin": Loss(_margin, lambda logits, labels: losses.margin(logits, labels, labels)[0]),
}
