"""PGD adversarial training (Madry et al. 2018, equation 2.1): training on the worst point found in an Linf ball."""

from __future__ import annotations

import keras
import pandas as pd
import tensorflow as tf

from qnn_robustness.data.splits import Split
from qnn_robustness.training.fitting.fit import fit


def train(
    network: keras.Model,
    train: Split,
    validation: Split,
    *,
    seed: int,
    epsilon: float,
    step_size: float,
    steps: int,
    **fitting,
) -> pd.DataFrame:
    """Train `network` in place on adversarial samples only; return its history.

    `epsilon` and `step_size` are Linf distances for inputs in [0, 1]. The checkpoint is chosen by the
    validation accuracy under the same attack. `fitting`: see `fit`.
    """
    trainer = AdversarialTrainer(network, seed, epsilon, step_size, steps)
    return fit(trainer, network, train, validation, monitor="val_robust_accuracy", seed=seed, **fitting)


class AdversarialTrainer(keras.Model):
    """A Keras model that trains `network` on the output of PGD."""

    def __init__(self, network: keras.Model, seed: int, epsilon: float, step_size: float, steps: int):
        super().__init__()
        self.network, self.seed = network, seed
        self.epsilon, self.step_size, self.steps = epsilon, step_size, steps

    def call(self, inputs, training: bool = False):
        return self.network(inputs, training=training)

    def train_step(self, data):
        samples, labels = data[:2]
        return super().train_step((self.perturb(samples, labels, self.optimizer.iterations), labels))

    def test_step(self, data):
        samples, labels = data[:2]
        metrics = super().test_step(data)
        adversarial = self.perturb(samples, labels, tf.constant(-1, tf.int64))
        right = tf.argmax(self.network(adversarial, training=False), axis=1) == tf.cast(labels, tf.int64)
        return {**metrics, "robust_accuracy": tf.reduce_mean(tf.cast(right, tf.float32))}

    def perturb(self, samples: tf.Tensor, labels: tf.Tensor, stream: tf.Tensor) -> tf.Tensor:
        """Return PGD samples within `epsilon` of `samples`; `stream` numbers the random start."""
        random = tf.stack([tf.constant(self.seed, tf.int64), tf.cast(stream, tf.int64)])
        start = tf.random.stateless_uniform(tf.shape(samples), random, -self.epsilon, self.epsilon)
        adversarial = tf.clip_by_value(samples + start, 0.0, 1.0)
        lower, upper = tf.maximum(samples - self.epsilon, 0.0), tf.minimum(samples + self.epsilon, 1.0)
        for _ in range(self.steps):
            with tf.GradientTape() as tape:
                tape.watch(adversarial)
                logits = self.network(adversarial, training=False)
                loss = tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
            step = self.step_size * tf.sign(tape.gradient(loss, adversarial))
            adversarial = tf.clip_by_value(adversarial + step, lower, upper)
        return tf.stop_gradient(adversarial)
