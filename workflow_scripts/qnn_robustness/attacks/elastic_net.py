"""EAD, the elastic-net attack (Chen et al. 2018, algorithm 1) (Foolbox)."""

from __future__ import annotations

from foolbox.attacks import EADAttack
from foolbox.attacks.base import Attack

from qnn_robustness.attacks.crafting.clean_failures import CleanFailures

ACCESS = "white_box"
BUDGETED = False


class ElasticNet(CleanFailures, EADAttack):
    """The attack, whose failures come back clean."""


NORMS = {"l1": ElasticNet}


def build(
    norm: str,
    *,
    binary_search_steps: int,
    steps: int,
    initial_step_size: float,
    confidence: float,
    initial_constant: float,
    regularization: float,
    decision_rule: str,
    abort_early: bool,
) -> Attack:
    """Return the attack; `regularization` is the weight beta of the L1 term in equation 7."""
    return NORMS[norm](
        binary_search_steps=binary_search_steps,
        steps=steps,
        initial_stepsize=initial_step_size,
        confidence=confidence,
        initial_const=initial_constant,
        regularization=regularization,
        decision_rule=decision_rule,
        abort_early=abort_early,
    )
