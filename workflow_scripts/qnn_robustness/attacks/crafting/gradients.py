"""Whether a model has the gradients that an attack uses."""

from __future__ import annotations

import sys

import eagerpy as ep
from eagerpy.tensor import NumPyTensor
from foolbox.attacks.base import Attack
from foolbox.models import Model

from qnn_robustness.common import registry
from qnn_robustness.common.errors import UserError


def check_gradients(attack: Attack, model: Model, like: ep.Tensor) -> None:
    """Raise UserError if an attack that uses gradients is called on arrays, with a model that has none of its own.

    In the workflow such attacks get models that have (crafting.sources.module_for).
    """
    module = type(attack).__module__
    if getattr(sys.modules.get(module), "ACCESS", None) != "white_box":
        return
    if isinstance(like, NumPyTensor) and getattr(model, "slope", None) is None:
        names = registry.names("attacks")
        others = [name for name in names if registry.load("attacks", name).ACCESS != "white_box"]
        raise UserError(
            f"{module.rpartition('.')[2]} needs gradients, and inputs that are tensors of a model that has them, not "
            f"arrays ({type(model).__name__}); {', '.join(others)} need none"
        )
