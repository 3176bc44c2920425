"""The L2 attack of Carlini and Wagner (2017, section VI.A) (Foolbox)."""

from __future__ import annotations

from foolbox.attacks import L2CarliniWagnerAttack
from foolbox.attacks.base import Attack

from qnn_robustness.attacks.crafting.clean_failures import CleanFailures

ACCESS = "white_box"
BUDGETED = False


class L2CarliniWagner(CleanFailures, L2CarliniWagnerAttack):
    """The attack, whose failures come back clean."""


NORMS = {"l2": L2CarliniWagner}


def build(
    norm: str,
    *,
    binary_search_steps: int,
    steps: int,
    step_size: float,
    confidence: float,
    initial_constant: float,
    abort_early: bool,
) -> Attack:
    """Return the attack; `step_size` is Adam's learning rate in the space of the inverse hyperbolic tangent.

    Foolbox looks at a point before each step, at the first of all samples again for each constant: with one step more
    it looks at the point of the last of `steps`, too.
    """
    return NORMS[norm](
        binary_search_steps=binary_search_steps,
        steps=steps + 1,
        stepsize=step_size,
        confidence=confidence,
        initial_const=initial_constant,
        abort_early=abort_early,
    )
