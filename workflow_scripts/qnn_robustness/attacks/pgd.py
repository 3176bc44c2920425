"""Projected gradient descent (Madry et al. 2018, section 2.1) with random restarts (Foolbox)."""

from __future__ import annotations

from typing import Any

import eagerpy as ep
from foolbox.attacks import L2ProjectedGradientDescentAttack, LinfProjectedGradientDescentAttack
from foolbox.attacks.base import Attack

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
        return ep.astensor(self.starting_points)


class LinfPGD(_FromPoints, LinfProjectedGradientDescentAttack):
    """PGD in an Linf ball."""


class L2PGD(_FromPoints, L2ProjectedGradientDescentAttack):
    """PGD in an L2 ball."""


NORMS = {"linf": LinfPGD, "l2": L2PGD}


def build(norm: str, *, steps: int, relative_step_size: float, restarts: int) -> Attack:
    """Return the attack; `relative_step_size` is a share of the budget."""
    attack = NORMS[norm](steps=steps, rel_stepsize=relative_step_size, random_start=True)
    return attack.repeat(restarts) if restarts > 1 else attack
