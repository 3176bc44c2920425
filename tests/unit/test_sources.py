"""Networks under attack: what their gradients cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import tensorflow as tf

from qnn_robustness.attacks.crafting.sources import View, integer_model, keras_network, vote

NETWORKS = Path(__file__).resolve().parents[2] / "reference_models" / "cifar10_resnet8" / "standard"
FILES = [str(NETWORKS / name) for name in ("float32.keras", "int16.tflite", "int8.tflite")]
SOURCES = {
    "float32": (keras_network, FILES[0], "tensorflow"),
    "int16": (integer_model, FILES[1], "reference"),
    "int8": (integer_model, FILES[2], "reference"),
    "vote": (vote, FILES, "tensorflow+reference+reference"),
}


@pytest.mark.parametrize("source", SOURCES)
def test_no_time_goes_into_gradients_of_weights(source: str) -> None:
    """A compiled function under an eager tape computes gradients in all that it reads, wanted or not."""
    module, path, kernels = SOURCES[source]
    logits = module.load(path, kernels, View(on_lattice=True, clean=np.empty((0, 32, 32, 3), np.float32)))._model
    inputs = tf.constant(np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype(np.float32))
    weights = logits.get_concrete_function().variables
    with tf.GradientTape() as tape:
        tape.watch([inputs, *weights])
        outputs = logits(inputs)
    slope, *others = tape.gradient(outputs, [inputs, *weights])
    assert np.abs(slope).max() > 0
    assert len(weights) > 10
    assert all(gradient is None for gradient in others)
