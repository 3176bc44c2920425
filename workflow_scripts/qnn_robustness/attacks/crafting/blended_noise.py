"""Where decision attacks start: a random image of another class, blended with the sample."""

from __future__ import annotations

from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks import LinearSearchBlendedUniformNoiseAttack
from foolbox.attacks.base import get_criterion
from foolbox.models import Model

from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.network import Network
from qnn_robustness.attacks.crafting.unit_box import in_unit_box

BLENDS = 50


class BlendedNoise(LinearSearchBlendedUniformNoiseAttack):
    """Foolbox's initialisation, in which a sample asks no more once it has what it needs.

    Foolbox draws, and blends, for the whole batch until its last sample is done: what a sample costs, and with a query
    budget what is found for it, would depend on the others.
    """

    def __init__(self, directions: int):
        super().__init__(directions=directions, steps=BLENDS)

    @in_unit_box
    def run(self, model: Model, inputs: Any, criterion: Any = None, **_: Any) -> Any:
        """Return the points [N, H, W, C]; a sample itself where no draw is of a class that the criterion wants."""
        x, restore = ep.astensor_(inputs)
        clean, goal = x.numpy(), Goal.of(get_criterion(criterion), len(x))
        network = Network(model, x, goal)
        noise, result, left = clean.copy(), clean.copy(), np.arange(len(clean))
        for _ in range(self.directions):
            if not len(left):
                break
            with network.only(left):
                draws = network.uniform((len(left), *clean.shape[1:]))
                done = goal.only(left).reached(network.logits(draws))
            noise[left[done]], left = draws[done], left[~done]
        left = np.setdiff1d(np.arange(len(clean)), left)
        for share in np.linspace(0, 1, self.steps + 1, dtype=np.float32)[1:]:
            if not len(left):
                break
            points = (1 - share) * clean[left] + share * noise[left]
            with network.only(left):
                done = goal.only(left).reached(network.logits(points))
            result[left[done]], left = points[done], left[~done]
        return restore(ep.from_numpy(x, result))
