"""Projected gradient descent (Madry et al. 2018, section 2.1) with random restarts (Foolbox)."""

from __future__ import annotations

from foolbox.attacks import L2ProjectedGradientDescentAttack, LinfProjectedGradientDescentAttack
from foolbox.attacks.base import Attack

ACCESS = "white_box"
NORMS = {"linf": LinfProjectedGradientDescentAttack, "l2": L2ProjectedGradientDescentAttack}
BUDGETED = True


def build(norm: str, *, steps: int, relative_step_size: float, restarts: int) -> Attack:
    """Return the attack; `relative_step_size` is a share of the budget."""
    attack = NORMS[norm](steps=steps, rel_stepsize=relative_step_size, random_start=True)
    return attack.repeat(restarts) if restarts > 1 else attack
