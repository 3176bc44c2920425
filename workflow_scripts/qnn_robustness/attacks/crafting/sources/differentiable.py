"""What differentiable networks share: a view of logits as a compiled Foolbox model, which has slopes too."""

from __future__ import annotations

from collections.abc import Callable
from functools import cached_property

import foolbox
import numpy as np
import tensorflow as tf

from qnn_robustness.attacks.crafting.sources import BOUNDS, View
from qnn_robustness.attacks.crafting.sources.temperature import jacobian_temperature
from qnn_robustness.quantization.integer_model.arithmetic import variable

Logits = Callable[[tf.Tensor], tf.Tensor]
Weights = Callable[[np.ndarray], np.ndarray]


class Differentiable(foolbox.TensorFlowModel):
    """`logits` (float32 [N, *shape] -> [N, K]) and their slopes, each as one compiled function.

    A tape outside a compiled function has it return, and fills with zeros, all intermediate results: on few inputs
    that costs as much as the gradient itself.
    """

    def __init__(self, logits: Logits, shape: tuple[int, int, int]):
        signature = [tf.TensorSpec((None, *shape), tf.float32)]
        self._weights: Weights | None = None

        def slope(inputs: tf.Tensor) -> tuple[tf.Tensor, tf.Tensor]:
            with tf.GradientTape(watch_accessed_variables=False) as tape:
                tape.watch(inputs)
                outputs = logits(inputs)
            weights = tf.numpy_function(lambda values: self._weights(values), [outputs], tf.float32, stateful=True)
            weights = tf.ensure_shape(weights, outputs.shape)
            return outputs, tape.gradient(outputs, inputs, output_gradients=weights)

        self._function = tf.function(slope, input_signature=signature)
        super().__init__(tf.function(logits, input_signature=signature).get_concrete_function(), BOUNDS)

    @cached_property
    def _slope(self) -> Callable[[tf.Tensor], tuple[tf.Tensor, tf.Tensor]]:
        return self._function.get_concrete_function()

    def slope(self, inputs: np.ndarray, weights: Weights) -> tuple[np.ndarray, np.ndarray]:
        """Return logits [N, K] and the gradient of sum(weights(logits) * logits), float32 like `inputs`.

        `weights` maps logits to constants, float32 [N, K].
        """
        self._weights = weights
        logits, gradient = self._slope(tf.constant(inputs))
        return logits.numpy(), gradient.numpy()


def seen(logits: Logits, shape: tuple[int, int, int], view: View) -> Differentiable:
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

    def tempered(inputs: tf.Tensor) -> tf.Tensor:
        return rounded(inputs) / temperature if temperature != 1 else rounded(inputs)

    return Differentiable(tempered, shape)
