"""What a recipe minimises: the loss of a batch, and how the network predicts when it is validated."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field

import keras
import numpy as np
import tensorflow as tf

from qnn_robustness.data.splits import Split
from qnn_robustness.training.fitting.perturbation import LinfAttack

VALIDATION = -1  # the step whose random draws validation takes: the same ones in every epoch


@dataclass(frozen=True)
class Material:
    """What a recipe may use beside the batches.

    `static` are adversarial versions of the training samples in their order, uint8 [N, H, W, C] each, in a group for
    each network that they were made for.
    """

    seed: int
    train: Split
    teacher: keras.Model | None = None
    static: Sequence[Sequence[np.ndarray]] = field(default_factory=tuple)


class Objective:
    """Cross-entropy on clean samples; recipes override `loss`.

    All random draws belong to (seed, step): the same step of the same training draws the same numbers,
    whether or not it was interrupted before.
    """

    def __init__(self, network: keras.Model, material: Material, attack: LinfAttack | None = None):
        self.network, self.material, self.attack = network, material, attack

    def loss(self, samples: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the loss of a batch (a scalar) and the logits [B, K] by which its accuracy is counted.

        `samples` are float32 [B, H, W, C] in [0, 1]; `step` counts the batches since the training began.
        """
        return self.cross_entropy(samples, labels)

    def predict(self, samples: tf.Tensor) -> tf.Tensor:
        """Return the logits [B, K] of the network as it is when it is used."""
        return self.network(samples, training=False)

    def refresh(self) -> None:
        """Bring up to date what follows from the weights; called before each pass over training or validation."""

    def finish(self) -> None:
        """Turn the trained network into the one that is deployed; most recipes leave it as it is."""

    def cross_entropy(self, samples: tf.Tensor, labels: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        """Return the mean cross-entropy and the logits of a pass in training mode."""
        logits = self.network(samples, training=True)
        return tf.reduce_mean(cross_entropy(labels, logits)), logits

    def adversarial(
        self, samples: tf.Tensor, labels: tf.Tensor, step: tf.Tensor | int, attack: LinfAttack | None = None
    ):
        """Return `samples` perturbed so that cross-entropy rises, from a uniformly drawn start."""
        attack = attack or self.attack
        start = tf.random.stateless_uniform(tf.shape(samples), self.draw(step), -attack.epsilon, attack.epsilon)
        return attack.ascend(lambda inputs: cross_entropy(labels, self.predict(inputs)), samples, start)

    def draw(self, step: tf.Tensor | int) -> tf.Tensor:
        """Return the seed of the random draws of a step."""
        return tf.stack([tf.constant(self.material.seed, tf.int64), tf.cast(step, tf.int64)])


def cross_entropy(labels: tf.Tensor, logits: tf.Tensor) -> tf.Tensor:
    """Return the cross-entropy of each sample, [B]."""
    return tf.nn.sparse_softmax_cross_entropy_with_logits(labels, logits)
