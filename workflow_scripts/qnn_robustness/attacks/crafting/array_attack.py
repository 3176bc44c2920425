"""Attacks that minimise the distance, written for arrays."""

from __future__ import annotations

from abc import abstractmethod
from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks.base import MinimizationAttack, get_criterion
from foolbox.models import Model

from qnn_robustness.attacks.crafting.active import counter_of
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.gradients import check_gradients
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.attacks.crafting.unit_box import in_unit_box


class ArrayAttack(MinimizationAttack):
    """A Foolbox attack whose search takes and returns arrays.

    Those whose search does not look at the clean samples set `looks_first`.
    """

    looks_first = False

    @in_unit_box
    def run(
        self, model: Model, inputs: Any, criterion: Any, *, early_stop: float | None = None, **arguments: Any
    ) -> Any:
        """Return what `search` finds, in the framework of `inputs`; other arguments are the search's own."""
        tensor, restore_type = ep.astensor_(inputs)
        check_gradients(self, model, tensor)
        goal = Goal.of(get_criterion(criterion), len(tensor))
        network, clean = Network(model, tensor, goal), tensor.numpy()
        points, left = clean.copy(), np.flatnonzero(~self._done(network, clean, goal))
        if len(left):
            arguments = {name: values[left] for name, values in arguments.items()}
            with network.only(left):
                points[left] = self.search(network, clean[left], goal.only(left), **arguments)
        return restore_type(ep.from_numpy(tensor, points))

    def _done(self, network: Network, clean: np.ndarray, goal: Goal) -> np.ndarray:
        """Return which samples [N] are as wanted when clean and need no search, where that takes a look first.

        Behind a counter there is none: crafting has counted its own, and attacks the others alone.
        """
        if not self.looks_first or counter_of(network.model) is not None:
            return np.zeros(len(clean), bool)
        return self.reached(goal, network.logits(clean))

    def reached(self, goal: Goal, logits: np.ndarray) -> np.ndarray:
        """Return which samples are as wanted, bool [N], by their logits [N, K]."""
        return goal.reached(logits)

    @abstractmethod
    def search(self, network: Network, clean: np.ndarray, goal: Goal) -> np.ndarray:
        """Return adversarial points, float32 [N, H, W, C] in [0, 1], for `clean` of the same kind."""
