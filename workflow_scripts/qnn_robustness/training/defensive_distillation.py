"""Defensive distillation (Papernot et al. 2016, arXiv 1511.04508), and the training of its teacher.

It hides gradients rather than making a network robust: logits grow with the temperature, and the softmax of the
deployed network (temperature 1) saturates. Attack it with its logits divided by the temperature as well.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from qnn_robustness.training.fitting.objective import Material, Objective, cross_entropy


def objective(network: keras.Model, material: Material, *, temperature: float, label_weight: float) -> Objective:
    """Return cross-entropy at a temperature with the teacher's output at the same temperature.

    Without a teacher the labels take its place: so the teacher itself is trained. `label_weight` is the share
    of the labels beside a teacher (0 in the paper).
    """
    return Distillation(network, material, temperature, label_weight)


class Distillation(Objective):
    """Cross-entropy of softmax(logits / T), times T.

    The factor keeps the gradient by the logits as long as without temperature; without it a learning rate would
    have to grow with T.
    """

    def __init__(self, network: keras.Model, material: Material, temperature: float, label_weight: float):
        super().__init__(network, material)
        self.temperature, self.label_weight = temperature, label_weight

    def loss(self, samples: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = self.network(samples, training=True) / self.temperature
        value = cross_entropy(labels, logits)
        if self.material.teacher is not None:
            soft = tf.nn.softmax(self.material.teacher(samples, training=False) / self.temperature)
            taught = tf.nn.softmax_cross_entropy_with_logits(soft, logits)
            value = self.label_weight * value + (1 - self.label_weight) * taught
        return self.temperature * tf.reduce_mean(value), logits
