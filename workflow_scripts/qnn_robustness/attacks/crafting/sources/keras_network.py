"""The float32 network of a .keras file, with gradients."""

from __future__ import annotations

from pathlib import Path

import foolbox
import tensorflow as tf
from foolbox.models import Model

from qnn_robustness.attacks.crafting.sources import BOUNDS
from qnn_robustness.models.float_network import load_network, logits_function


def load(path: str | Path, kernels: str, on_lattice: bool) -> Model:
    """Return the network; gradients pass through the rounding of `on_lattice` straight. `kernels` has no meaning."""
    network = load_network(path)
    logits = logits_function(network)
    if not on_lattice:
        return foolbox.TensorFlowModel(logits, BOUNDS)

    @tf.function(input_signature=[tf.TensorSpec((None, *network.input_shape[1:]), tf.float32)])
    def rounded(inputs):
        return logits(inputs + tf.stop_gradient(tf.round(inputs * 255.0) / 255.0 - inputs))

    return foolbox.TensorFlowModel(rounded, BOUNDS)
