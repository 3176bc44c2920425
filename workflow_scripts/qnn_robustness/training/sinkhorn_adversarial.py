"""Sinkhorn adversarial training (Bouniot et al. 2021, arXiv 2102.03156): adversarial outputs spread as clean ones."""

from __future__ import annotations

import keras
import tensorflow as tf

from qnn_robustness.training.fitting.objective import Material, Objective, cross_entropy
from qnn_robustness.training.fitting.perturbation import LinfAttack
from qnn_robustness.training.fitting.sinkhorn import sinkhorn_divergence


def objective(
    network: keras.Model,
    material: Material,
    *,
    epsilon: float,
    step_size: float,
    steps: int,
    weight: float,
    regularisation: float,
    iterations: int,
    compared: str,
) -> Objective:
    """Return cross-entropy on adversarial samples plus `weight` times the Sinkhorn divergence from the clean outputs.

    `epsilon` and `step_size` are Linf distances for inputs in [0, 1]; `regularisation` and `iterations` are those
    of the divergence; `compared` are the outputs between which it is taken, `logits` or `probabilities`.
    """
    attack = LinfAttack(epsilon, step_size, steps)
    return SinkhornAdversarial(network, material, attack, weight, regularisation, iterations, compared)


class SinkhornAdversarial(Objective):
    """The divergence between the outputs of the clean and of the adversarial batch, as two sets of points.

    The published code of the authors leaves the entropy out of the value of each transport: it counts <P, C>. With
    it, as here, the divergence is positive for batches that differ (Feydy et al. 2019, theorem 1).
    """

    def __init__(
        self,
        network: keras.Model,
        material: Material,
        attack: LinfAttack,
        weight: float,
        regularisation: float,
        iterations: int,
        compared: str,
    ):
        super().__init__(network, material, attack)
        self.weight, self.regularisation, self.iterations = weight, regularisation, iterations
        self.outputs = tf.nn.softmax if compared == "probabilities" else tf.identity

    def loss(self, samples: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        perturbed = self.network(self.adversarial(samples, labels, step), training=True)
        clean = self.network(samples, training=True)
        apart = sinkhorn_divergence(self.outputs(clean), self.outputs(perturbed), self.regularisation, self.iterations)
        return tf.reduce_mean(cross_entropy(labels, perturbed)) + self.weight * apart, perturbed
