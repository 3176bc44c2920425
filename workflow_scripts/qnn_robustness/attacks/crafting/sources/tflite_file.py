"""The deployed .tflite file, without gradients."""

from __future__ import annotations

from pathlib import Path

import foolbox
import numpy as np
from foolbox.models import Model

from qnn_robustness.attacks.crafting.sources import BOUNDS, View
from qnn_robustness.quantization.tflite_model import TFLiteModel


def load(path: str | Path, kernels: str, view: View) -> Model:
    """Return the file on a kernel set; outputs are dequantized to float32, so that margins cannot overflow."""
    model = TFLiteModel(path, kernels)

    def rounded(inputs: np.ndarray) -> np.ndarray:
        return model.predict(np.rint(inputs * np.float32(255)) / np.float32(255))

    return foolbox.NumPyModel(rounded if view.on_lattice else model.predict, BOUNDS, data_format="channels_last")
