"""Jacobian regularization (Hoffman et al. 2019, arXiv 1908.02729): outputs that change little with the inputs."""

from __future__ import annotations

import keras
import tensorflow as tf

from qnn_robustness.common.calls import calls
from qnn_robustness.training.fitting.objective import Material, Objective, cross_entropy


def objective(network: keras.Model, material: Material, *, weight: float, projections: int, scope: str) -> Objective:
    """Return cross-entropy plus weight/2 times the squared Frobenius norm of the Jacobian by the inputs.

    `projections` is the number of random projections by which the norm is estimated. `scope` is `network` (the
    Jacobian of the logits) or `layers` (also those of the outputs of every convolution and dense layer).
    """
    return JacobianRegularized(network, material, weight, projections, scope)


class JacobianRegularized(Objective):
    """Equation 3 with the norm estimated as in algorithm 1, in the same pass as cross-entropy.

    With `layers`, Jacobians are those of the layers' outputs by the network's input: by its own input that of a
    convolution is constant, and its norm no more than weight decay. A layer with D outputs counts K/D of its
    squared norm, where K is the number of classes, so that large layers do not outweigh the logits.
    """

    def __init__(self, network: keras.Model, material: Material, weight: float, projections: int, scope: str):
        super().__init__(network, material)
        self.weight, self.projections = weight, projections
        logits = network.outputs[0]
        hidden = [call.output for call in calls(network) if _has_kernel(call.operation) and call.output is not logits]
        self.outputs = keras.Model(network.inputs, [logits, *(hidden if scope == "layers" else [])])

    def loss(self, samples: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits, norms = self.squared_norms(samples, step)
        return tf.reduce_mean(cross_entropy(labels, logits) + self.weight / 2 * norms), logits

    def squared_norms(self, samples: tf.Tensor, step: tf.Tensor | int) -> tuple[tf.Tensor, tf.Tensor]:
        """Return logits [B, K] and unbiased estimates of the (weighted) sum of squared norms, [B].

        All layers share one backward pass: their projections are independent and have mean zero, so that the
        products between layers vanish in the mean.
        """
        with tf.GradientTape(persistent=True) as tape:
            tape.watch(samples)
            outputs = tf.nest.flatten(self.outputs(samples, training=True))
            projected = [self._projected(outputs, step, number) for number in range(self.projections)]
        gradients = [tape.gradient(value, samples) for value in projected]
        axes = range(1, len(samples.shape))
        return outputs[0], sum(tf.reduce_sum(g**2, axes) for g in gradients) / self.projections

    def _projected(self, outputs: list[tf.Tensor], step: tf.Tensor | int, number: int) -> tf.Tensor:
        """Return the sum of the outputs' products with random directions, the length of which is sqrt(K)."""
        total, classes = 0.0, outputs[0].shape[1]
        for place, output in enumerate(outputs):
            seed = tf.random.experimental.stateless_fold_in(self.draw(step), number * len(outputs) + place)
            direction = tf.random.stateless_normal(tf.shape(output), seed)
            axes = range(1, len(output.shape))
            length = tf.sqrt(tf.reduce_sum(direction**2, axes, keepdims=True))
            total += classes**0.5 * tf.reduce_sum(output * direction / length)
        return total


def _has_kernel(operation: keras.Operation) -> bool:
    """Return whether an operation is a convolution or a dense layer; a separable convolution has two kernels."""
    return any("kernel" in weight.name for weight in getattr(operation, "weights", []))
