"""The integer network of a .tflite file with gradients: exact forward pass, straight-through backward pass."""

from __future__ import annotations

from pathlib import Path

import foolbox
import numpy as np
import tensorflow as tf
from foolbox.models import Model

from qnn_robustness.attacks.crafting.sources import BOUNDS
from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.integer_model.exactness import check_exactness, mismatch_message
from qnn_robustness.quantization.integer_model.model import IntegerModel


def load(path: str | Path, kernels: str, on_lattice: bool) -> Model:
    """Return the network on a kernel set; gradients pass through the rounding of `on_lattice` straight."""
    model = IntegerModel.from_file(path, kernels)

    @tf.function(input_signature=[tf.TensorSpec((None, *model.input_shape), tf.float32)])
    def logits(inputs):
        if on_lattice:
            inputs += tf.stop_gradient(tf.round(inputs * 255.0) / 255.0 - inputs)
        return model.logits(inputs)

    return foolbox.TensorFlowModel(logits, BOUNDS)


def mismatches(path: str | Path, kernels: str, inputs: np.ndarray) -> int:
    """Return the differing output bytes between this network and the TFLite interpreter: 0.

    `inputs` are float32 [N, H, W, C] in [0, 1].

    Raises UserError when any byte differs: what was crafted was then not crafted on the deployed network.
    """
    model = IntegerModel.from_file(path, kernels)
    differing = check_exactness(model, path, model.quantize(inputs))
    if differing:
        raise UserError(mismatch_message(model, differing))
    return differing
