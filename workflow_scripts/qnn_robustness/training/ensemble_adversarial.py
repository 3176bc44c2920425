"""Ensemble adversarial training (Tramer et al. 2018, arXiv 1705.07204): also on samples made for other networks."""

from __future__ import annotations

import keras
import tensorflow as tf

from qnn_robustness.training.fitting.objective import Material, Objective
from qnn_robustness.training.fitting.perturbation import LinfAttack


def objective(
    network: keras.Model, material: Material, *, epsilon: float, step_size: float, steps: int, clean_weight: float
) -> Objective:
    """Return cross-entropy on clean samples and on adversarial ones, weighted `clean_weight` to the rest.

    Each batch draws the network whose adversarial samples it takes, a static one (and one of its attacks) or the
    trained one itself. `epsilon` and `step_size` of the own ones are Linf distances for inputs in [0, 1].
    """
    return EnsembleAdversarial(network, material, LinfAttack(epsilon, step_size, steps), clean_weight)


class EnsembleAdversarial(Objective):
    """Section 3.4: the source of the adversarial samples is drawn anew for every batch."""

    def __init__(self, network: keras.Model, material: Material, attack: LinfAttack, clean_weight: float):
        super().__init__(network, material, attack)
        self.clean_weight = clean_weight

    def loss(
        self, samples: tf.Tensor, labels: tf.Tensor, step: tf.Tensor, static: tf.Tensor, own: tf.Tensor
    ) -> tuple[tf.Tensor, tf.Tensor]:
        adversarial = tf.cond(own, lambda: self.adversarial(samples, labels, step), lambda: static)
        perturbed, logits = self.cross_entropy(adversarial, labels)
        if not self.clean_weight:
            return perturbed, logits
        clean, logits = self.cross_entropy(samples, labels)
        return self.clean_weight * clean + (1 - self.clean_weight) * perturbed, logits
