"""Perturbing a batch within an Linf ball, so that a loss rises: the inner step of every adversarial recipe."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

import tensorflow as tf


@dataclass(frozen=True)
class LinfAttack:
    """Projected gradient ascent in the Linf ball (Madry et al. 2018, section 2.1).

    `epsilon` is the radius and `step_size` the length of a step, both for inputs in [0, 1].
    """

    epsilon: float
    step_size: float
    steps: int

    def ascend(self, loss: Callable[[tf.Tensor], tf.Tensor], samples: tf.Tensor, start: tf.Tensor | float) -> tf.Tensor:
        """Return perturbed samples [B, H, W, C], without a gradient of their own.

        `loss` maps inputs to one value a sample, [B]; `start` is added to `samples` before the first step.
        """
        lower, upper = tf.maximum(samples - self.epsilon, 0.0), tf.minimum(samples + self.epsilon, 1.0)
        adversarial = tf.clip_by_value(samples + start, lower, upper)
        for _ in range(self.steps):
            with tf.GradientTape() as tape:
                tape.watch(adversarial)
                value = loss(adversarial)
            step = self.step_size * tf.sign(tape.gradient(value, adversarial))
            adversarial = tf.clip_by_value(adversarial + step, lower, upper)
        return tf.stop_gradient(adversarial)
