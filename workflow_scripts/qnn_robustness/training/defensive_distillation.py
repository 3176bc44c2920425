"""Defensive distillation (Papernot et al. 2016, arXiv 1511.04508), and the training of its teacher.

It hides gradients rather than making a network robust: logits grow with the temperature, and the softmax of the
deployed network (temperature 1) saturates. Attack it with its logits divided by the temperature as well.
"""

from __future__ import annotations

import keras
import tensorflow as tf

from qnn_robustness.common.calls import Call, flat_calls
from qnn_robustness.common.errors import UserError
from qnn_robustness.training.fitting.objective import Material, Objective, cross_entropy

WEIGHTED = (keras.layers.Dense, keras.layers.Conv2D)
# a factor of what they are given is one of what they give
PASSING = (keras.layers.GlobalAveragePooling2D, keras.layers.Flatten, keras.layers.Reshape)


def objective(network: keras.Model, material: Material, *, temperature: float, label_weight: float) -> Objective:
    """Return cross-entropy at a temperature with the teacher's output at the same temperature.

    Without a teacher the labels take its place: so the teacher itself is trained. `label_weight` is the share
    of the labels beside a teacher (0 in the paper).
    """
    return Distillation(network, material, temperature, label_weight)


class Distillation(Objective):
    """Cross-entropy of softmax(logits / T), where the network itself gives logits / T until its training ends.

    Then its last layer is multiplied by T. The loss is the paper's; but a network that starts at temperature 1, trained
    or not, need not enlarge its logits by T first, and no layer learns at a rate that T changes.
    """

    def __init__(self, network: keras.Model, material: Material, temperature: float, label_weight: float):
        super().__init__(network, material)
        self.temperature, self.label_weight = temperature, label_weight
        head = self.head = _head(network)
        if not isinstance(head, WEIGHTED) or head.activation is not keras.activations.linear:
            raise UserError(
                f"defensive_distillation: the network ends in {head.name} ({type(head).__name__}), "
                "where a Dense or Conv2D layer without activation has to give the logits, or what is averaged to them"
            )

    def finish(self) -> None:
        self.head.set_weights([self.temperature * weights for weights in self.head.get_weights()])

    def loss(self, samples: tf.Tensor, labels: tf.Tensor, step: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
        logits = self.network(samples, training=True)
        value = cross_entropy(labels, logits)
        if self.material.teacher is not None:
            soft = tf.nn.softmax(self.material.teacher(samples, training=False) / self.temperature)
            taught = tf.nn.softmax_cross_entropy_with_logits(soft, logits)
            value = self.label_weight * value + (1 - self.label_weight) * taught
        return tf.reduce_mean(value), logits


def _head(network: keras.Model) -> keras.Operation:
    """Return the last operation of a network before averages, reshaping and activations that do nothing."""
    made = {id(call.output): call for call in flat_calls(network)}
    call = made[id(network.outputs[0])]
    while _passes(call) and id(call.inputs[0]) in made:
        call = made[id(call.inputs[0])]
    return call.operation


def _passes(call: Call) -> bool:
    layer = call.operation
    if isinstance(layer, keras.layers.Activation):
        return layer.activation is keras.activations.linear
    return isinstance(layer, PASSING)
