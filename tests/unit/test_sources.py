"""Networks under attack: what their gradients cost."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import tensorflow as tf

from qnn_robustness.attacks.crafting.sources import View, vote

NETWORKS = Path(__file__).resolve().parents[2] / "reference_models" / "cifar10_resnet8" / "standard"
FILES = [str(NETWORKS / name) for name in ("float32.keras", "int16.tflite", "int8.tflite")]


def test_no_time_goes_into_gradients_of_weights() -> None:
    """A compiled function under an eager tape computes gradients in all that it reads, wanted or not.

    The vote has the weights of all three precisions.
    """
    view = View(on_lattice=True, clean=np.empty((0, 32, 32, 3), np.float32))
    logits = vote.load(FILES, "tensorflow+reference+reference", view)._model
    inputs = tf.constant(np.random.default_rng(0).uniform(size=(2, 32, 32, 3)).astype(np.float32))
    weights = logits.get_concrete_function().variables
    with tf.GradientTape() as tape:
        tape.watch([inputs, *weights])
        outputs = logits(inputs)
    slope, *others = tape.gradient(outputs, [inputs, *weights])
    assert np.abs(slope).max() > 0
    assert len(weights) > 10
    assert all(gradient is None for gradient in others)
