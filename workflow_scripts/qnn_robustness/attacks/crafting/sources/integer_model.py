"""The integer network of a .tflite file with gradients: exact forward pass, straight-through backward pass."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import numpy as np
from foolbox.models import Model

from qnn_robustness.attacks.crafting.sources import View
from qnn_robustness.attacks.crafting.sources.differentiable import seen
from qnn_robustness.common.errors import UserError
from qnn_robustness.quantization.integer_model.exactness import check_exactness, mismatch_message
from qnn_robustness.quantization.integer_model.model import IntegerModel


def load(path: str | Path, kernels: str, view: View) -> Model:
    """Return the network on a kernel set."""
    return attacked(IntegerModel.from_file(path, kernels, view.estimator), view)


def attacked(model: IntegerModel, view: View) -> Model:
    """Return an integer model as attacks see it: gradients pass scores that saturate."""
    return seen(partial(model.logits, through_saturation=True), model.input_shape, view)


def mismatches(path: str | Path, kernels: str, inputs: np.ndarray) -> int:
    """Return the differing output bytes between this network and the TFLite interpreter: 0.

    `inputs` are float32 [N, H, W, C] in [0, 1].

    Raises UserError when any byte differs: what was crafted was then not crafted on the deployed network.
    """
    model = IntegerModel.from_file(path, kernels)
    differing = check_exactness(model, path, inputs)
    if differing:
        raise UserError(mismatch_message(model, differing))
    return differing
