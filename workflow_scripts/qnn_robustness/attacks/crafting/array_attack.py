"""Attacks that minimise the distance, written for arrays."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks.base import MinimizationAttack, get_criterion
from foolbox.models import Model

from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.gradients import check_gradients
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.attacks.crafting.unit_box import in_unit_box


class ArrayAttack(MinimizationAttack):
    """A Foolbox attack whose search takes and returns arrays."""

    @in_unit_box
    def run(
        self, model: Model, inputs: Any, criterion: Any, *, early_stop: float | None = None, **arguments: Any
    ) -> Any:
        """Return what `search` finds, in the framework of `inputs`; other arguments are the search's own."""
        tensor, restore_type = ep.astensor_(inputs)
        check_gradients(self, model, tensor)
        goal = Goal.of(get_criterion(criterion), len(tensor))
        points = self.search(Network(model, tensor, goal), tensor.numpy(), goal, **arguments)
        return restore_type(ep.from_numpy(tensor, points))

    @abstractmethod
    def search(self, network: Network, clean: np.ndarray, goal: Goal) -> np.ndarray:
        """Return adversarial points, float32 [N, H, W, C] in [0, 1], for `clean` of the same kind."""
