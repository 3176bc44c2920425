"""Projected gradient descent (Madry et al. 2018, section 2.1) with random restarts (Foolbox)."""

from __future__ import annotations

from typing import Any

import eagerpy as ep
import numpy as np
from foolbox.attacks import L2ProjectedGradientDescentAttack, LinfProjectedGradientDescentAttack
from foolbox.attacks.base import Attack, FixedEpsilonAttack, get_criterion
from foolbox.distances import Distance
from foolbox.models import Model

from qnn_robustness.attacks.crafting.descent import Descent
from qnn_robustness.attacks.crafting.goals import Goal
from qnn_robustness.attacks.crafting.network import Network

ACCESS = "white_box"
BUDGETED = True
WARM_START = True


class _FromPoints:
    """Starts at given points [N, H, W, C] within the ball, or at random ones if there are none."""

    def run(self, *args: Any, starting_points: Any = None, **kwargs: Any) -> Any:
        self.starting_points = starting_points
        return super().run(*args, **kwargs)

    def get_random_start(self, x0: ep.Tensor, epsilon: float) -> ep.Tensor:
        if self.starting_points is None:
            return super().get_random_start(x0, epsilon)
        return ep.from_numpy(x0, ep.astensor(self.starting_points).numpy())


class LinfPGD(_FromPoints, Descent, LinfProjectedGradientDescentAttack):
    """PGD in an Linf ball."""


class L2PGD(_FromPoints, Descent, L2ProjectedGradientDescentAttack):
    """PGD in an L2 ball."""


class Restarted(FixedEpsilonAttack):
    """Runs an attack again and again, each time on the samples that it has not fooled yet.

    They come back as from Foolbox's `repeat`, which attacks all samples each time: with the point of the first run
    that fooled them, or else of the first of all. Each run costs one query more, to look at its points.
    """

    def __init__(self, attack: FixedEpsilonAttack, runs: int):
        self.attack, self.runs = attack, runs

    @property
    def distance(self) -> Distance:
        return self.attack.distance

    def run(self, model: Model, inputs: Any, criterion: Any, *, epsilon: float, **kwargs: Any) -> Any:
        """Return perturbed inputs [N, ...]; further arguments are arrays [N, ...] for the attack."""
        tensor, restore_type = ep.astensor_(inputs)
        goal = Goal.of(get_criterion(criterion), len(tensor))
        network = Network(model, tensor, goal)
        given = {"inputs": tensor.numpy(), **{name: ep.astensor(values).numpy() for name, values in kwargs.items()}}
        points, left = given["inputs"].copy(), np.arange(len(tensor))
        for number in range(self.runs):
            rest = goal.only(left)
            arguments = {name: ep.from_numpy(tensor, values[left]).raw for name, values in given.items()}
            with network.only(left):
                found = self.attack.run(model, criterion=rest.criterion(), epsilon=epsilon, **arguments)
                found = ep.astensor(found).numpy()
                reached = rest.reached(network.logits(found))
            kept = reached | (number == 0)
            points[left[kept]] = found[kept]
            left = left[~reached]
            if not len(left):
                break
        return restore_type(ep.from_numpy(tensor, points))


NORMS = {"linf": LinfPGD, "l2": L2PGD}


def build(norm: str, *, steps: int, relative_step_size: float, restarts: int) -> Attack:
    """Return the attack; `relative_step_size` is a share of the budget."""
    attack = NORMS[norm](steps=steps, rel_stepsize=relative_step_size, random_start=True)
    return Restarted(attack, restarts) if restarts > 1 else attack
