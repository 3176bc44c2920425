"""What differentiable networks share: a view of logits as a compiled Foolbox model."""

from __future__ import annotations

from collections.abc import Callable

import foolbox
import tensorflow as tf

from qnn_robustness.attacks.crafting.sources import BOUNDS, View
from qnn_robustness.attacks.crafting.sources.temperature import jacobian_temperature
from qnn_robustness.quantization.integer_model.arithmetic import variable

Logits = Callable[[tf.Tensor], tf.Tensor]


def seen(logits: Logits, shape: tuple[int, int, int], view: View) -> foolbox.TensorFlowModel:
    """Return `logits` (float32 [N, *shape] -> [N, K]) in a view; gradients pass the rounding of inputs straight."""
    levels = variable(255)

    @tf.custom_gradient
    def to_lattice(inputs: tf.Tensor):
        return tf.round(inputs * levels) / levels, lambda upstream: upstream

    def rounded(inputs: tf.Tensor) -> tf.Tensor:
        return logits(to_lattice(inputs) if view.on_lattice else inputs)

    temperature = view.temperature
    if temperature == "jacobian":
        temperature = jacobian_temperature(rounded, view.clean)
        print(f"temperature {temperature:.6g}, from the Jacobian at clean samples")

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32)])
    def tempered(inputs: tf.Tensor) -> tf.Tensor:
        return rounded(inputs) / temperature if temperature != 1 else rounded(inputs)

    return foolbox.TensorFlowModel(tempered, BOUNDS)
