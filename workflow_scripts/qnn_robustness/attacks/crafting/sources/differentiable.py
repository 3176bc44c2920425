"""What differentiable networks share: a view of logits as a compiled Foolbox model."""

from __future__ import annotations

from collections.abc import Callable

import foolbox
import tensorflow as tf

from qnn_robustness.attacks.crafting.sources import BOUNDS, View
from qnn_robustness.attacks.crafting.sources.temperature import jacobian_temperature

Logits = Callable[[tf.Tensor], tf.Tensor]


def seen(logits: Logits, shape: tuple[int, int, int], view: View) -> foolbox.TensorFlowModel:
    """Return `logits` (float32 [N, *shape] -> [N, K]) in a view; gradients pass the rounding of inputs straight."""

    def rounded(inputs: tf.Tensor) -> tf.Tensor:
        if view.on_lattice:
            inputs += tf.stop_gradient(tf.round(inputs * 255.0) / 255.0 - inputs)
        return logits(inputs)

    temperature = view.temperature
    if temperature == "jacobian":
        temperature = jacobian_temperature(rounded, view.clean)
        print(f"temperature {temperature:.6g}, from the Jacobian at clean samples")

    @tf.function(input_signature=[tf.TensorSpec((None, *shape), tf.float32)])
    def tempered(inputs: tf.Tensor) -> tf.Tensor:
        return rounded(inputs) / temperature if temperature != 1 else rounded(inputs)

    return foolbox.TensorFlowModel(tempered, BOUNDS)
