"""TRADES (Zhang et al. 2019, arXiv 1901.08573): accuracy on clean samples, and the same output all over the ball."""

from __future__ import annotations

import keras
import tensorflow as tf

from qnn_robustness.training.fitting.objective import Material, Objective, cross_entropy
from qnn_robustness.training.fitting.perturbation import LinfAttack

START = 0.001  # standard deviation of the random start (algorithm 1)


def objective(
    network: keras.Model, material: Material, *, epsilon: float, step_size: float, steps: int, beta: float
) -> Objective:
    """Return cross-entropy on clean samples plus `beta` times the divergence of the perturbed outputs.

    `beta` is 1/lambda of equation 5; `epsilon` and `step_size` are Linf distances for inputs in [0, 1].
    """
    return Trades(network, material, LinfAttack(epsilon, step_size, steps), beta)


class Trades(Objective):
    """Equation 5 with the Kullback-Leibler divergence, whose inner maximum the attack searches (algorithm 1)."""

    def __init__(self, network: keras.Model, material: Material, attack: LinfAttack, beta: float):
        super().__init__(network, material, attack)
        self.beta = beta

    def loss(self, samples: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        adversarial = self.diverging(samples, step)
        clean, perturbed = self.network(samples, training=True), self.network(adversarial, training=True)
        value = cross_entropy(labels, clean) + self.beta * divergence(clean, perturbed)
        return tf.reduce_mean(value), clean

    def diverging(self, samples: tf.Tensor, step: tf.Tensor | int) -> tf.Tensor:
        """Return `samples` perturbed so that their outputs move away from the clean ones."""
        clean = self.predict(samples)
        start = START * tf.random.stateless_normal(tf.shape(samples), self.draw(step))
        return self.attack.ascend(lambda inputs: divergence(clean, self.predict(inputs)), samples, start)


def divergence(logits: tf.Tensor, others: tf.Tensor) -> tf.Tensor:
    """Return KL(softmax(logits) || softmax(others)) of each row, [B]."""
    difference = tf.nn.log_softmax(logits) - tf.nn.log_softmax(others)
    return tf.reduce_sum(tf.nn.softmax(logits) * difference, axis=1)
