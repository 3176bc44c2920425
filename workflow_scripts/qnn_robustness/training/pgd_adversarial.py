"""PGD adversarial training (Madry et al. 2018, equation 2.1): training on the worst point found in an Linf ball."""

from __future__ import annotations

import keras
import tensorflow as tf

from qnn_robustness.training.fitting.objective import Material, Objective
from qnn_robustness.training.fitting.perturbation import LinfAttack


def objective(network: keras.Model, material: Material, *, epsilon: float, step_size: float, steps: int) -> Objective:
    """Return cross-entropy on adversarial samples only.

    `epsilon` and `step_size` are Linf distances for inputs in [0, 1].
    """
    return Adversarial(network, material, LinfAttack(epsilon, step_size, steps))


class Adversarial(Objective):
    """Cross-entropy on what the attack makes of the batch."""

    def loss(self, samples: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        return self.cross_entropy(self.adversarial(samples, labels, step), labels)
