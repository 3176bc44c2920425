"""The network under attack as a Foolbox model: inputs in [0, 1], outputs logits."""

from __future__ import annotations

from pathlib import Path

import foolbox
import numpy as np
from foolbox.models import Model

BOUNDS = (0.0, 1.0)


def float_source(path: str | Path, on_lattice: bool) -> Model:
    """Return the float32 network of a .keras file.

    With `on_lattice` it sees its inputs rounded to 8 bits, and gradients pass through the rounding as if it
    were not there (straight-through), so that an attack searches among real images.
    """
    import tensorflow as tf

    from qnn_robustness.models.float_network import load_network, logits_function

    logits = logits_function(load_network(path))

    @tf.function(reduce_retracing=True)
    def rounded(inputs):
        return logits(inputs + tf.stop_gradient(tf.round(inputs * 255.0) / 255.0 - inputs))

    return foolbox.TensorFlowModel(rounded if on_lattice else logits, BOUNDS)


def tflite_source(path: str | Path, kernels: str, on_lattice: bool) -> Model:
    """Return the deployed .tflite file, without gradients; `on_lattice` as in `float_source`."""
    from qnn_robustness.quantization.tflite_model import TFLiteModel

    model = TFLiteModel(path, kernels)

    def rounded(inputs: np.ndarray) -> np.ndarray:
        return model.predict(np.rint(inputs * np.float32(255)) / np.float32(255))

    return foolbox.NumPyModel(rounded if on_lattice else model.predict, BOUNDS, data_format="channels_last")
