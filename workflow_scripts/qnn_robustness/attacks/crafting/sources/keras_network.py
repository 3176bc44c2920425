"""The float32 network of a .keras file, with gradients."""

from __future__ import annotations

from pathlib import Path

from foolbox.models import Model

from qnn_robustness.attacks.crafting.sources import View
from qnn_robustness.attacks.crafting.sources.differentiable import seen
from qnn_robustness.models.float_network import load_network, logits_function


def load(path: str | Path, kernels: str, view: View) -> Model:
    """Return the network; `kernels` and the estimator have no meaning."""
    network = load_network(path)
    return seen(logits_function(network), network.input_shape[1:], view)
