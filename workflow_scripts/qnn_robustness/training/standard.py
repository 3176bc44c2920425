"""Standard training on clean samples."""

from __future__ import annotations

import keras

from qnn_robustness.training.fitting.objective import Material, Objective


def objective(network: keras.Model, material: Material) -> Objective:
    """Return cross-entropy on clean samples."""
    return Objective(network, material)
